"""The embedded model: a GGUF file, run in this process and offered to llm; it knows no consortium.

weights.py    its file: fetched, found, checked
engine.py     llama.cpp in this process: loads the file at the first prompt, generates in parallel slots
model.py      the two llm models, sync and async

Nothing is imported here: `local-model fetch` needs weights.py alone, and model.py imports llm, which costs a second.
"""

LOCAL_MODEL_ID = "consortium-local"
LOCAL_MODEL_ALIAS = "local"
