"""The schema of our database in numbered steps; every column is explained where it is created."""

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("consortium_mcp")


@migrations(name="m001_consortiums")
def m001_consortiums(db: Database) -> None:
    """Saved consortiums, in llm-consortium's table and row format, so that either program can read them."""
    db.execute(
        """
        CREATE TABLE consortium_configs (
            name TEXT PRIMARY KEY,      -- what it is consulted by
            config TEXT NOT NULL,       -- JSON: our fields, and `models` and `minimum_iterations` as llm-consortium's
            created_at TEXT NOT NULL,   -- when it was saved last, ISO 8601 in UTC
            taken_from TEXT             -- the file of llm-consortium from which it came; null for our own
        )
        """
    )
    db.execute(
        """
        CREATE TABLE takeovers (
            path TEXT PRIMARY KEY,      -- a file of llm-consortium that was read to its end
            datetime_utc TEXT NOT NULL  -- when, ISO 8601
        )
        """
    )


@migrations(name="m002_runs")
def m002_runs(db: Database) -> None:
    """Runs, the questions, the calls that asked them, and the verdicts of the iterations."""
    db.execute(
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,         -- what the full-text index refers to
            run_id TEXT NOT NULL UNIQUE,    -- ULID: sorts by time
            status TEXT NOT NULL,           -- as the glossary; `running` after its lease means interrupted
            prompt TEXT NOT NULL,           -- the caller's text, untouched
            history TEXT NOT NULL,          -- JSON: earlier turns of the conversation
            consortium_name TEXT,           -- the saved consortium; null for an inline one
            consortium TEXT NOT NULL,       -- JSON: the definition as it was, arbiter resolved
            shuffle_seed INTEGER NOT NULL,  -- decides the order in which the arbiter sees the responses
            fence_token TEXT NOT NULL,       -- the random word of this run's fences
            replay_of TEXT,                 -- the run whose responses are judged again; null for a run of its own
            selected_iteration INTEGER,     -- whose synthesis is the answer, from 1
            answer TEXT,                    -- what the caller gets
            confidence REAL,                -- 0.0-1.0; null when unreadable
            dissent TEXT NOT NULL DEFAULT '',
            degraded TEXT NOT NULL DEFAULT '[]',  -- JSON: what is missing, a sentence each
            error TEXT,                     -- why it failed
            created_utc TEXT NOT NULL,      -- ISO 8601
            ended_utc TEXT,                 -- null while it is open
            deadline_utc TEXT NOT NULL,     -- when it must have ended, ISO 8601
            deadline_seconds REAL NOT NULL, -- how long it was given
            max_calls INTEGER,              -- its budget; null for no limit
            max_tokens INTEGER,
            max_cost_usd REAL,
            owner TEXT,                     -- the process that works on it; null when none does
            lease_until REAL,               -- Unix seconds until which the owner holds it
            cancel_requested INTEGER NOT NULL DEFAULT 0,  -- 1 when another process wants it cancelled
            fingerprint TEXT,               -- SHA-256 of what was asked of whom: the same call again joins this run
            received_utc TEXT               -- when a caller was given its answer; null until then
        )
        """
    )
    db.execute("CREATE INDEX runs_by_consortium ON runs (consortium_name, run_id)")
    db.execute("CREATE INDEX runs_by_status ON runs (status, run_id)")
    db.execute("CREATE INDEX runs_not_received ON runs (fingerprint) WHERE received_utc IS NULL")
    db.table("runs").enable_fts(["prompt", "answer"], create_triggers=True, tokenize="porter")
    db.execute(
        """
        CREATE TABLE questions (
            question_id TEXT PRIMARY KEY,   -- SHA-256 of the other columns: the same question is stored once
            system TEXT,                    -- the system prompt; null for none
            prompt TEXT NOT NULL,           -- the text that is sent
            history TEXT NOT NULL,          -- JSON: earlier turns
            output_schema TEXT              -- JSON schema of the reply; null for free text
        )
        """
    )
    db.execute(
        """
        CREATE TABLE calls (
            run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
            call_id TEXT NOT NULL,          -- i1/m3, i1/arbiter, …: the same on every replay
            iteration INTEGER NOT NULL,     -- from 1
            label TEXT NOT NULL,            -- who is asked, for people: gpt-5#2
            model TEXT NOT NULL,            -- the llm model id or alias
            options TEXT NOT NULL,          -- JSON: llm options
            question_id TEXT NOT NULL REFERENCES questions (question_id),
            state TEXT NOT NULL,            -- done (its result is here) or begun (it is under way, or was not made)
            attempts INTEGER NOT NULL,      -- how often it was tried
            text TEXT,                      -- the reply
            error_kind TEXT,                -- why there is no usable text
            error TEXT,                     -- the same in one sentence
            finish_reason TEXT,             -- the provider's word
            answered_by TEXT,               -- the backup model that answered; null for the one that was asked
            retry_after_seconds REAL,       -- how long the provider asks us to wait
            resolved_model TEXT,            -- the model that answered, as the provider says
            input_tokens INTEGER,           -- null when not counted
            output_tokens INTEGER,          -- null when not counted
            duration_ms INTEGER,            -- from sending to the last chunk
            datetime_utc TEXT,              -- when the call began
            PRIMARY KEY (run_id, call_id)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE attempts (
            run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
            call_id TEXT NOT NULL,
            attempt INTEGER NOT NULL,       -- from 1
            day TEXT NOT NULL,              -- the UTC date on which it counts
            reserved_tokens INTEGER NOT NULL,  -- held back before it, given back after it
            reserved_usd REAL,              -- the same in US dollars; null when the price is unknown
            error_kind TEXT,                -- how it failed; null when it did not, or is not over
            error TEXT,
            tokens INTEGER,                 -- used, questions and replies; null when not counted or not over
            cost_usd REAL,                  -- null when unknown or not over
            duration_ms INTEGER,            -- null when it is not over
            PRIMARY KEY (run_id, call_id, attempt)
        )
        """
    )
    db.execute(
        """
        CREATE TABLE spending (
            scope TEXT PRIMARY KEY,         -- run:<run_id> or day:<date>
            calls INTEGER NOT NULL,         -- attempts begun
            tokens INTEGER NOT NULL,        -- used, and reserved by those in flight
            cost_usd REAL NOT NULL,         -- the same in US dollars, where prices are known
            unpriced INTEGER NOT NULL       -- attempts whose price is unknown
        )
        """
    )
    db.execute(
        """
        CREATE TABLE ratings (
            run_id TEXT PRIMARY KEY REFERENCES runs (run_id) ON DELETE CASCADE,
            score REAL NOT NULL,            -- 0.0 (wrong) to 1.0 (correct)
            note TEXT,                      -- the rater's words; null for none
            datetime_utc TEXT NOT NULL      -- when, ISO 8601
        )
        """
    )
    db.execute(
        """
        CREATE TABLE iterations (
            run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
            number INTEGER NOT NULL,        -- from 1
            responses TEXT NOT NULL,        -- JSON: [call_id, whether it was late] for each instance, in order
            judged_by TEXT,                 -- the member's model that judged in the arbiter's place
            shown_order TEXT NOT NULL,      -- JSON: places (from 0) of the responses as the arbiter saw them
            verdict TEXT,                   -- JSON: the verdict as read; null without one
            measures TEXT,                  -- JSON: what was measured beside it; null when not judged
            arbiter_error TEXT,             -- why there is none
            raw_verdict TEXT,               -- the arbiter's reply, untouched
            PRIMARY KEY (run_id, number)
        )
        """
    )


@migrations(name="m003_follow_ups")
def m003_follow_ups(db: Database) -> None:
    """Runs that continue the conversation of an earlier one."""
    db.execute("ALTER TABLE runs ADD COLUMN follow_up_to TEXT")  # the earlier run; null if the conversation begins here


@migrations(name="m004_attempts_begun")
def m004_attempts_begun(db: Database) -> None:
    """When each attempt began, so that a follower of a run can show how long it has been running."""
    # ISO 8601 in UTC; null for those of earlier releases
    db.execute("ALTER TABLE attempts ADD COLUMN begun_utc TEXT")


@migrations(name="m005_output_schemas")
def m005_output_schemas(db: Database) -> None:
    """Runs whose answer is JSON."""
    db.execute("ALTER TABLE runs ADD COLUMN output_schema TEXT")  # JSON: the schema of the answer; null for free text


@migrations(name="m006_names_taken_over")
def m006_names_taken_over(db: Database) -> None:
    """The names in an llm-consortium file when it was last read; names that are saved there later are imported too."""
    db.execute("ALTER TABLE takeovers ADD COLUMN names TEXT NOT NULL DEFAULT '[]'")  # JSON: every name in it


@migrations(name="m007_callers")
def m007_callers(db: Database) -> None:
    """The caller of each run, and consortiums of callers; the other ones stay where llm-consortium reads them."""
    db.execute("ALTER TABLE runs ADD COLUMN caller TEXT")  # the caller; null without a token
    db.execute("CREATE INDEX runs_by_caller ON runs (caller, run_id)")
    db.execute(
        """
        CREATE TABLE caller_consortiums (
            caller TEXT NOT NULL,       -- whose it is
            name TEXT NOT NULL,         -- what it is consulted by
            config TEXT NOT NULL,       -- JSON, as in consortium_configs
            created_at TEXT NOT NULL,   -- when it was saved last, ISO 8601 in UTC
            PRIMARY KEY (caller, name)
        )
        """
    )


@migrations(name="m008_nested_runs")
def m008_nested_runs(db: Database) -> None:
    """Nested runs: each belongs to the call of the outer run that asked it."""
    db.execute("ALTER TABLE runs ADD COLUMN parent_run TEXT")  # the outer run; null for a run that a caller opened
    db.execute("ALTER TABLE runs ADD COLUMN parent_call TEXT")  # the outer run's call, as i1/m3; null without one
    db.execute("CREATE INDEX runs_by_parent ON runs (parent_run, parent_call) WHERE parent_run IS NOT NULL")


@migrations(name="m009_long_histories")
def m009_long_histories(db: Database) -> None:
    """Support for a million runs: full-text search also by names and status, smaller indices, fast removal.

    A large history is indexed again, once: a minute or two for a million runs.
    """
    # each is a word that no text contains, so that a search within some runs need not read the words of all others
    db.execute(
        """
        ALTER TABLE runs ADD COLUMN marks TEXT GENERATED ALWAYS AS (
            'caller' || hex(caller) || ' consortium' || hex(consortium_name) || ' status' || hex(status)
        ) VIRTUAL
        """
    )
    for trigger in ("runs_ai", "runs_ad", "runs_au"):
        db.execute(f"DROP TRIGGER {trigger}")
    db.execute("DROP TABLE runs_fts")
    db.execute(
        "CREATE VIRTUAL TABLE runs_fts USING fts5 "
        "(prompt, answer, marks, content = 'runs', content_rowid = 'id', tokenize = 'porter')"
    )
    put = "INSERT INTO runs_fts (rowid, prompt, answer, marks) VALUES (new.id, new.prompt, new.answer, new.marks);"
    take = (
        "INSERT INTO runs_fts (runs_fts, rowid, prompt, answer, marks) "
        "VALUES ('delete', old.id, old.prompt, old.answer, old.marks);"
    )
    db.execute(f"CREATE TRIGGER runs_ai AFTER INSERT ON runs BEGIN {put} END")
    db.execute(f"CREATE TRIGGER runs_ad AFTER DELETE ON runs BEGIN {take} END")
    # not at every renewal of a lease
    db.execute(
        "CREATE TRIGGER runs_au AFTER UPDATE OF prompt, answer, caller, consortium_name, status ON runs "
        f"BEGIN {take} {put} END"
    )
    db.execute("INSERT INTO runs_fts (runs_fts) VALUES ('rebuild')")

    for index in ("runs_by_consortium", "runs_by_status", "runs_by_caller", "runs_not_received"):
        db.execute(f"DROP INDEX {index}")
    db.execute("CREATE INDEX runs_by_caller ON runs (caller, run_id) WHERE caller IS NOT NULL")
    db.execute("CREATE INDEX runs_by_opening ON runs (created_utc)")
    db.execute("CREATE INDEX runs_not_received ON runs (fingerprint, created_utc) WHERE received_utc IS NULL")
    # few at any time; ended runs are in neither
    db.execute("CREATE INDEX runs_open ON runs (lease_until) WHERE status = 'running'")
    db.execute("CREATE INDEX runs_open_by_caller ON runs (caller, lease_until) WHERE status = 'running'")

    # a question is removed with the last call that asked it
    db.execute("CREATE INDEX calls_by_question ON calls (question_id)")
    db.execute("DELETE FROM questions WHERE question_id NOT IN (SELECT question_id FROM calls)")
    db.execute(
        """
        CREATE TRIGGER calls_ad AFTER DELETE ON calls BEGIN
            DELETE FROM questions WHERE question_id = old.question_id
            AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.question_id = old.question_id);
        END
        """
    )

    # the caller whose run was rated, so that a caller's ratings are found by an index
    db.execute("ALTER TABLE ratings ADD COLUMN caller TEXT")
    db.execute("UPDATE ratings SET caller = (SELECT caller FROM runs WHERE runs.run_id = ratings.run_id)")
    db.execute("CREATE INDEX ratings_by_time ON ratings (datetime_utc)")
    db.execute("CREATE INDEX ratings_by_caller ON ratings (caller, datetime_utc) WHERE caller IS NOT NULL")


@migrations(name="m010_tokens_of_attempts")
def m010_tokens_of_attempts(db: Database) -> None:
    """The usage of each attempt, split into question and reply: a call has the figures of its last attempt only."""
    for column in ("input_tokens", "output_tokens"):
        db.execute(f"ALTER TABLE attempts ADD COLUMN {column} INTEGER")
    db.execute(
        "UPDATE attempts SET (input_tokens, output_tokens) = (SELECT input_tokens, output_tokens FROM calls "
        "WHERE calls.run_id = attempts.run_id AND calls.call_id = attempts.call_id "
        "AND calls.attempts = attempts.attempt)"
    )


@migrations(name="m011_first_pieces")
def m011_first_pieces(db: Database) -> None:
    """When each call's reply began, so that a model is waited for as long as it took before."""
    db.execute("ALTER TABLE calls ADD COLUMN first_piece_ms INTEGER")  # null if nothing arrived, or it was not measured
    db.execute("CREATE INDEX calls_by_model ON calls (model) WHERE first_piece_ms IS NOT NULL")


@migrations(name="m012_thinking")
def m012_thinking(db: Database) -> None:
    """A model's thinking, separate from its reply, and the changes that its question needed."""
    db.execute("ALTER TABLE calls ADD COLUMN thinking TEXT")  # null if it showed none
    db.execute("ALTER TABLE calls ADD COLUMN note TEXT")  # one sentence; null if nothing was changed


@migrations(name="m013_trust")
def m013_trust(db: Database) -> None:
    """The trust in an iteration's answer."""
    db.execute(
        "ALTER TABLE iterations ADD COLUMN trust TEXT"  # JSON: the measurements and the bounded confidence
    )


@migrations(name="m014_attachments")
def m014_attachments(db: Database) -> None:
    """The files of questions: each content once, for all runs that have it, and removed with the last one."""
    db.execute("ALTER TABLE runs ADD COLUMN attachments TEXT NOT NULL DEFAULT '[]'")  # JSON: hash, type, name, size
    db.execute("ALTER TABLE calls ADD COLUMN unseen TEXT")  # names and types of files that its model does not accept
    db.execute("ALTER TABLE iterations ADD COLUMN arbiter_unseen TEXT")  # the same of the arbiter
    db.execute(
        """
        CREATE TABLE attachments (
            sha256 TEXT PRIMARY KEY,    -- of the content, in hex
            content BLOB NOT NULL       -- the bytes of the file
        )
        """
    )
    db.execute(
        """
        CREATE TABLE run_attachments (
            run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
            sha256 TEXT NOT NULL REFERENCES attachments (sha256),
            PRIMARY KEY (run_id, sha256)
        )
        """
    )
    db.execute("CREATE INDEX run_attachments_by_content ON run_attachments (sha256)")
    db.execute(
        """
        CREATE TRIGGER run_attachments_ad AFTER DELETE ON run_attachments BEGIN
            DELETE FROM attachments WHERE sha256 = old.sha256
            AND NOT EXISTS (SELECT 1 FROM run_attachments WHERE run_attachments.sha256 = old.sha256);
        END
        """
    )
