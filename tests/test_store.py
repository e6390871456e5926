"""The database: migrated with a copy kept, refused when newer, explained when broken, small after years, a queue."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from labctl import store as tables
from labctl.database import Damaged, Database
from labctl.errors import Busy, ExitCode, LabctlError, Refused
from labctl.migrations import MIGRATIONS
from labctl.store import JobState, Store, StoredFault

FIRST = "CREATE TABLE thing (name TEXT NOT NULL) STRICT"
SECOND = "ALTER TABLE thing ADD COLUMN size INTEGER; UPDATE thing SET size = 1"


def things(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM thing").fetchall()


def schema(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def add_thing(database: Database, name: str) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO thing (name) VALUES (?)", (name,))


def test_a_database_is_copied_before_it_is_migrated(tmp_path: Path) -> None:  # F-19
    path = tmp_path / "labctl.sqlite3"
    add_thing(Database(path, [FIRST]), "old")
    newer = Database(path, [FIRST, SECOND])
    add_thing(newer, "new")
    assert things(path) == [("old", 1), ("new", None)]
    (copy,) = newer.copies()
    assert copy.name == "labctl.schema-1.sqlite3"
    assert (things(copy), schema(copy)) == ([("old",)], 1)
    assert sorted(found.name for found in tmp_path.iterdir()) == [copy.name, path.name]


def test_the_last_two_copies_are_kept(tmp_path: Path) -> None:  # F-19, F-50
    path = tmp_path / "labctl.sqlite3"
    scripts = [FIRST, *(f"CREATE TABLE more{number} (x) " for number in range(11))]
    for version in range(1, len(scripts) + 1):
        add_thing(Database(path, scripts[:version]), f"of schema {version}")
    assert [found.name for found in Database(path, scripts).copies()] == [
        "labctl.schema-10.sqlite3",
        "labctl.schema-11.sqlite3",
    ]
    assert len(things(path)) == len(scripts)


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_event("small-alice", "root", "up")
    assert store.copies() == []


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:  # F-19
    path = tmp_path / "labctl.sqlite3"
    add_thing(Database(path, [FIRST]), "old")
    broken = Database(path, [FIRST, SECOND + "; INSERT INTO nowhere VALUES (1)"])
    with pytest.raises(LabctlError):
        add_thing(broken, "new")
    assert (things(path), schema(path)) == ([("old",)], 1)


def test_a_home_of_the_first_schema_keeps_its_history(tmp_path: Path) -> None:  # F-19, F-45
    store = Store(tmp_path)
    with Database(store.path, MIGRATIONS[:1]).transaction() as connection:
        connection.execute("INSERT INTO event VALUES (1, '2025', 'small-alice', 'root', 'up', '')")
        connection.execute("INSERT INTO intent VALUES (1, '2025', 'small-alice', 'create', 'web', '2025')")
        connection.execute("INSERT INTO intent VALUES (2, '2025', 'small-alice', 'create', 'fw', NULL)")
    assert [event.what for event in store.events("small-alice")] == ["up"]
    assert store.open_intents("small-alice") == (("create", "fw"),)
    assert [copy.name for copy in store.copies()] == ["labctl.schema-1.sqlite3"]


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:  # F-19
    store = Store(tmp_path)
    store.add_event("small-alice", "root", "up")
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = store.path.read_bytes()
    for act in (lambda: store.add_event("small-alice", "root", "down"), store.labs, store.find_damage):
        with pytest.raises(Refused, match="newer labctl"):
            act()
    assert store.path.read_bytes() == before


def scribble(path: Path) -> None:
    path.write_bytes(b"this was a database\n" * 400)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def lose_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE event")


@pytest.mark.parametrize("harm", [scribble, cut, lose_a_table])
def test_a_damaged_database_says_what_to_type(tmp_path: Path, harm: Callable[[Path], None]) -> None:  # F-19
    store = Store(tmp_path)
    for _number in range(100):
        store.add_event("small-alice", "root", "up", "x" * 200)
    assert store.find_damage() == ""
    harm(store.path)
    with pytest.raises(Damaged) as caught:
        store.events("small-alice")
    assert caught.value.hint == "labctl repair"
    assert store.find_damage() != ""
    aside = store.set_aside()
    assert aside.name.startswith("labctl.sqlite3.broken-")
    assert aside.stat().st_size > 0
    assert (store.events("small-alice"), store.find_damage()) == ((), "")


def test_a_database_of_somebody_else_is_named(tmp_path: Path) -> None:  # F-19
    """Root may write anything, so the question is asked as another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:-2]:
        folder.chmod(folder.stat().st_mode | 0o001)
    store = Store(tmp_path)
    store.add_event("small-alice", "root", "up")

    def ask(answers: "multiprocessing.SimpleQueue[tuple[type, str, str]]") -> None:
        os.setegid(65534)
        os.seteuid(65534)
        try:
            store.add_event("small-alice", "nobody", "up")
        except LabctlError as exc:
            answers.put((type(exc), exc.message, exc.hint))

    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=ask, args=(answers,))
    child.start()
    child.join(30)
    kind, message, hint = answers.get()
    assert kind is LabctlError
    assert 'it belongs to "root"' in message
    assert hint.startswith("ls -ld ")
    assert len(store.events("small-alice")) == 1


def test_a_writer_is_waited_for_and_then_named_as_busy(tmp_path: Path) -> None:  # F-20
    store = Store(tmp_path)
    store.add_event("small-alice", "root", "up")
    store.patience = 0.2
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with Store(tmp_path).transaction():
            held.set()
            let_go.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    assert len(store.events("small-alice")) == 1  # reading waits for nobody
    with pytest.raises(Busy) as caught:
        store.add_event("small-alice", "root", "down")
    assert caught.value.exit_code is ExitCode.BUSY
    store.patience = 30
    threading.Timer(0.2, let_go.set).start()
    store.add_event("small-alice", "root", "down")
    holder.join()
    assert len(store.events("small-alice")) == 2


CRASH = """
import os, sys
from pathlib import Path
from labctl.store import Store
store = Store(Path(sys.argv[1]))
reader = store.connect()
reader.execute("BEGIN")
reader.execute("SELECT * FROM event").fetchall()
store.add_event("small-alice", "root", "committed")
with store.transaction() as connection:
    connection.execute("INSERT INTO event VALUES (99, '', 'small-alice', '', 'uncommitted', '')")
    os.kill(os.getpid(), 9)
"""


def test_a_log_left_by_a_crash_is_recovered(tmp_path: Path) -> None:  # F-20
    store = Store(tmp_path)
    store.add_event("small-alice", "root", "first")
    subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False)
    assert store.path.with_name("labctl.sqlite3-wal").stat().st_size > 0
    assert [event.what for event in store.events("small-alice")] == ["first", "committed"]
    assert store.find_damage() == ""


def test_years_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # F-50
    monkeypatch.setattr(tables, "KEPT_EVENTS", 20)
    monkeypatch.setattr(tables, "KEPT_TIMINGS", 5)
    monkeypatch.setattr(tables, "KEPT_JOBS", 3)
    monkeypatch.setattr(tables, "KEPT_LAYOUTS", 2)
    store = Store(tmp_path)
    store.add_event("small-bob", "root", "up")
    for number in range(30):
        store.add_event("small-alice", "root", "up", str(number))
        store.add_timing("boot:3", float(number))
        with store.intent("small-alice", "create", "web"):
            pass
        store.save_layout(str(number), ["web"])
        store.end_job(store.add_job("small-alice", "reset", [], "root").id, 0)
    assert [event.detail for event in store.events("small-alice")] == [str(number) for number in range(10, 30)]
    assert len(store.events("small-bob")) == 1
    assert store.expected_seconds("boot:3") == 27.0
    assert store.layouts().keys() == {"28", "29"}
    with store.transaction() as connection:
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("timing", "intent", "job")
        }
    assert counts == {"timing": 5, "intent": 0, "job": 3}


def test_an_intent_lives_until_its_act_has_ended_well(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail() -> None:
        with store.intent("small-alice", "create", "web"):
            raise LabctlError("no")

    with pytest.raises(LabctlError):
        fail()
    with store.intent("small-alice", "create", "fw"):
        assert store.open_intents("small-alice") == (("create", "web"), ("create", "fw"))
    assert store.open_intents("small-alice") == (("create", "web"),)
    store.close_intents("small-alice")
    assert store.open_intents("small-alice") == ()


def test_a_lab_remembers_its_boot_and_its_age(tmp_path: Path) -> None:  # F-22
    store = Store(tmp_path)
    store.note_boot("small-alice", "boot-1", made="2025-01-01T00:00:00+00:00")
    store.note_boot("small-alice", "boot-2")
    lab = store.labs()["small-alice"]
    assert (lab.boot, lab.made) == ("boot-2", "2025-01-01T00:00:00+00:00")
    assert (store.lab("small-alice"), store.lab("small-bob")) == (lab, None)
    store.note_boot("small-alice", "boot-2", reset=True)
    assert store.labs()["small-alice"].made == store.labs()["small-alice"].up
    assert store.known_names() == {"small-alice"}
    store.forget("small-alice")
    assert (store.labs(), store.known_names()) == ({}, frozenset())


def test_faults_are_kept_until_they_are_cleared_or_their_machine_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = StoredFault("dns-stopped", "fw", "2025-01-01T00:00:00+00:00", "ada", "7", frozenset({"dns", "web"}))
    other = StoredFault("web-stopped", "web", "2025-01-01T00:00:01+00:00", "ada", "", frozenset({"dns"}))
    third = StoredFault("web-forbidden", "web", "2025-01-01T00:00:02+00:00", "ada", "", frozenset())
    for fault in (one, other, third):
        store.add_fault("small-alice", fault)
    store.add_fault("small-bob", one)
    assert store.faults("small-alice") == (one, other, third)
    store.remove_fault("small-alice", "dns-stopped")
    assert store.faults("small-alice") == (other, third)
    store.close_intents("small-alice")
    assert store.faults("small-alice") == (other, third)
    store.forget_faults("small-alice", ["web"])
    assert store.faults("small-alice") == ()
    assert store.faults("small-bob") == (one,)
    store.forget("small-bob")
    assert store.faults("small-bob") == ()


def test_the_same_wish_waits_once(tmp_path: Path) -> None:  # F-09
    store = Store(tmp_path)
    first = store.add_job("small-alice", "reset", ["web", "fw"], "alice")
    again = store.add_job("small-alice", "reset", ["fw", "web"], "alice")
    other = store.add_job("small-bob", "reset", ["fw", "web"], "bob")
    assert (first.new, again.new, again.id) == (True, False, first.id)
    assert (store.jobs_ahead(first.id), store.jobs_ahead(other.id)) == (0, 1)
    store.start_job(first.id)
    later = store.add_job("small-alice", "reset", ["web", "fw"], "alice")
    assert (later.new, store.jobs_ahead(later.id)) == (True, 2)  # what was done since the first began is not undone
    store.end_job(first.id, 0)
    assert [job.id for job in store.list_jobs()] == [other.id, later.id]
    assert store.jobs_ahead(later.id) == 1
    assert {job.state for job in store.list_jobs()} == {JobState.WAITING}


QUEUE = """
import sys
from pathlib import Path
from labctl.store import Store
print(Store(Path(sys.argv[1])).add_job("small-alice", "reset", [], "alice").id)
"""


def test_a_job_dies_with_its_process(tmp_path: Path) -> None:  # F-05, F-09
    store = Store(tmp_path)
    done = subprocess.run([sys.executable, "-c", QUEUE, str(tmp_path)], check=True, capture_output=True, text=True)
    dead = int(done.stdout)
    assert store.list_jobs() == ()
    assert [job.id for job in store.list_jobs(dead=True)] == [dead]
    own = store.add_job("small-alice", "reset", [], "alice")
    assert own.new
    assert own.id != dead
    assert store.jobs_ahead(own.id) == 0
    assert store.list_jobs(dead=True) == ()


def test_a_process_of_the_same_id_is_another_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    job = store.add_job("small-alice", "reset", [], "alice").id
    with store.transaction() as connection:
        connection.execute("UPDATE job SET pid_started = '1@another-boot'")
    assert store.list_jobs() == ()
    assert [found.id for found in store.list_jobs(dead=True)] == [job]


def test_what_is_held_writes_its_log_back_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    log = store.path.with_name(f"{store.path.name}-wal")
    with store.held(), store.held():
        store.add_event("dmz-lea", "me", "up")
        assert log.stat().st_size > 0
        assert [one.what for one in Store(tmp_path).events("dmz-lea")] == ["up"]
    assert not log.exists()
    assert [one.what for one in store.events("dmz-lea")] == ["up"]


def test_what_cannot_be_held_is_told_by_the_next_transaction(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path.mkdir()
    with store.held(), pytest.raises(LabctlError, match="cannot be"):
        store.add_event("dmz-lea", "me", "up")
