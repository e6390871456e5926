"""The schemas of the database `labctl.store` keeps: the n-th script leads from schema n - 1 to n."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, lab TEXT NOT NULL, who TEXT NOT NULL,
        what TEXT NOT NULL, detail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_of_lab ON event (lab, id);
    CREATE TABLE intent (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, lab TEXT NOT NULL, act TEXT NOT NULL, target TEXT NOT NULL,
        ended TEXT
    ) STRICT;
    CREATE INDEX intent_open ON intent (lab) WHERE ended IS NULL;
    CREATE TABLE outcome (
        lab TEXT NOT NULL, "check" TEXT NOT NULL, at TEXT NOT NULL, result TEXT NOT NULL, evidence TEXT NOT NULL,
        PRIMARY KEY (lab, "check")
    ) STRICT;
    CREATE TABLE timing (id INTEGER PRIMARY KEY, what TEXT NOT NULL, seconds REAL NOT NULL) STRICT;
    CREATE INDEX timing_of ON timing (what, id);
    """,
    # An intent lives as long as its act. A lab remembers the boot of the host that it was last brought up in.
    """
    DELETE FROM intent WHERE ended IS NOT NULL;
    DROP INDEX intent_open;
    ALTER TABLE intent DROP COLUMN ended;
    CREATE INDEX intent_of_lab ON intent (lab);
    CREATE TABLE lab (lab TEXT PRIMARY KEY, boot TEXT NOT NULL, made TEXT NOT NULL, up TEXT NOT NULL) STRICT;
    CREATE TABLE layout (digest TEXT PRIMARY KEY, machines TEXT NOT NULL) STRICT;
    CREATE TABLE job (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, lab TEXT NOT NULL, verb TEXT NOT NULL, nodes TEXT NOT NULL,
        who TEXT NOT NULL, pid INTEGER NOT NULL, pid_started TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'ended')),
        code INTEGER, started TEXT, ended TEXT
    ) STRICT;
    CREATE INDEX job_live ON job (id) WHERE state <> 'ended'
    """,
    """
    CREATE TABLE fault (
        lab TEXT NOT NULL, fault TEXT NOT NULL, node TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL,
        seed TEXT NOT NULL, baseline TEXT NOT NULL, PRIMARY KEY (lab, fault)
    ) STRICT
    """,
    # Places of drawn values in an order that only the installation's secret makes: without it they say nothing.
    """
    CREATE TABLE draw (
        topology TEXT NOT NULL, edition TEXT NOT NULL, secret TEXT NOT NULL, session TEXT NOT NULL, owner TEXT NOT NULL,
        at TEXT NOT NULL, positions TEXT NOT NULL, PRIMARY KEY (topology, edition, secret, session, owner)
    ) STRICT
    """,
)
