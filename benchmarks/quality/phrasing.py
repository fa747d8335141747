"""The wordings of simulated members' answers: marked, in prose, long, or with a quoted other answer."""

PHRASES = (
    "Answer: {answer}",
    "**Answer:** {answer}",
    "Final answer: {answer}",
    "**Final answer:** {answer}.",
    "The answer is {answer}.",
    "The final answer is **{answer}**.",
    "So the answer is {answer}.",
    "Therefore, the answer is {answer}.",
    "<answer>{answer}</answer>",
    "So it is $\\boxed{{{answer}}}$.",
    "\\boxed{{{answer}}}",
    "# Answer\n\nAnswer: {answer}",
    "Answer:\n{answer}",
    "answer = {answer}",
    "Antwort: {answer}",
    "Réponse : {answer}",
    "Respuesta: {answer}",
    "Risposta: {answer}",
    "1. I read the question.\n2. I worked it out.\n\nAnswer: {answer}",
    "At first I had {other}.\nAnswer: {other}\nThat was a slip.\nAnswer: {answer}",
    'Some would say "Answer: {other}". I checked it, and it is wrong.\n\nAnswer: {answer}',
    "> Answer: {other}\n\nThat is what others wrote.\n\nAnswer: {answer}",
    "Answer: {answer}\n\nLet me know if you want more detail!",
    "<think>Perhaps {other}? No.</think>\nAnswer: {answer}",
    "{ramble}\n\nAnswer: {answer}",
    "{ramble} {ramble}\n\nThe answer is {answer}.",
)
"""The wordings, each with the answer, and some also with a wrong one."""

RAMBLE = (
    "Questions of this kind look easy and are not. One reads them twice, writes down what is given, and then what is "
    "asked. It helps to look at each part alone before the parts are put together. There is no hurry in it."
) * 3
"""The text before the answer of a verbose member."""

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot answer this question.",
    "As an AI language model, I can't provide an answer.",
)


def phrased(number: int, answer: str, other: str) -> str:
    """An answer in one of the wordings.

    Args:
        other: an answer that is quoted or retracted.
    """
    return PHRASES[number % len(PHRASES)].format(answer=answer, other=other, ramble=RAMBLE)
