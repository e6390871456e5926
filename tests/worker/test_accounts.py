from fractions import Fraction
from pathlib import Path

import pytest

from labctl.errors import Refused
from labctl.language import speaking
from labctl.roster import Student
from labctl.worker.accounts import SESSIONS_EACH, Accounts
from labctl.worker.credentials import ALPHABET, draw_code, refuse_password
from labctl.worker.records import Records
from labctl.worker.throttle import Buckets, Throttle
from labctl.worker.values import Refusal, Role
from labctl.worker.wire import NotDone

HOME = "10.0.0.1"
PASSWORD = "un chat dort ici"


def student(slug: str, identity: str = "", name: str = "") -> Student:
    return Student(identity or slug, slug, name or slug, "", Fraction(1), "", 2)


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(Records(tmp_path))


def enrol(accounts: Accounts, *slugs: str, class_name: str = "sisr") -> dict[str, str]:
    enrolled = accounts.enrol(class_name, "sisr.csv", [student(slug) for slug in slugs])
    return {one.student.slug: one.code for one in enrolled}


def refusal(accounts: Accounts, name: str, secret: str, address: str = HOME) -> NotDone:
    with pytest.raises(NotDone) as caught:
        accounts.log_in(name, secret, address)
    return caught.value


def with_password(accounts: Accounts, name: str, code: str) -> str:
    return accounts.choose_password(accounts.log_in(name, code, HOME).row, "", PASSWORD, HOME).token


def test_codes_have_no_letters_that_look_alike() -> None:
    codes = {draw_code() for _ in range(200)}
    assert len(codes) == 200
    assert not {*"01OIL"} & {*ALPHABET}
    assert all(len(code) == 9 and code[4] == "-" for code in codes)


def test_first_login_with_a_code_then_own_password(accounts: Accounts) -> None:
    code = enrol(accounts, "alice")["alice"]
    first = accounts.log_in("Alice", code.lower().replace("-", " "), HOME)
    assert first.row.must_choose
    second = accounts.choose_password(first.row, "", PASSWORD, HOME)
    assert not second.row.must_choose
    assert accounts.find_session(first.token) is None, "sessions of the code end with it"
    assert accounts.find_session(second.token) is not None
    assert refusal(accounts, "alice", code).refusal is Refusal.WRONG_SECRET, "a code serves once"
    assert not accounts.log_in("alice", PASSWORD, HOME).row.must_choose


def test_no_secret_is_in_the_database(accounts: Accounts, tmp_path: Path) -> None:
    code = enrol(accounts, "alice")["alice"]
    token = with_password(accounts, "alice", code)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (code, code.replace("-", ""), PASSWORD, token):
        assert secret.encode() not in stored
    assert b"$argon2id$" in stored


def test_a_wrong_secret_an_unknown_name_and_a_closed_account_are_told_the_same(accounts: Accounts) -> None:
    code = enrol(accounts, "alice", "bob")
    accounts.set_account("bob", "Bob", Role.STUDENT, (), closed=True)
    said = {refusal(accounts, *pair).message for pair in (("alice", "no"), ("nobody", "no"), ("bob", code["bob"]))}
    assert len(said) == 1
    lines = accounts.records.lines()
    assert [line.refused for line in lines] == [True] * 3
    assert {line.address for line in lines} == {HOME}


def test_refusals_are_in_the_language_of_the_reader(accounts: Accounts) -> None:
    with speaking("fr"):
        french = refusal(accounts, "alice", "x").message
    with speaking("en"):
        english = refusal(accounts, "alice", "x").message
    assert french != english


def test_five_wrong_ones_in_a_row_make_wait_and_success_forgets_them(accounts: Accounts) -> None:
    with_password(accounts, "alice", enrol(accounts, "alice")["alice"])
    for _ in range(5):
        assert refusal(accounts, "alice", "wrong").refusal is Refusal.WRONG_SECRET
    error = refusal(accounts, "alice", PASSWORD)
    assert (error.refusal, error.wait > 0) == (Refusal.TOO_MANY, True)
    assert refusal(accounts, "alice", "wrong").refusal is Refusal.TOO_MANY


def test_a_restart_forgives_nobody(accounts: Accounts, tmp_path: Path) -> None:
    enrol(accounts, "alice")
    for _ in range(5):
        refusal(accounts, "alice", "wrong")
    assert refusal(Accounts(Records(tmp_path)), "alice", "x").refusal is Refusal.TOO_MANY


def test_a_neighbour_who_guesses_locks_nobody_out_from_where_they_got_in(accounts: Accounts) -> None:
    with_password(accounts, "alice", enrol(accounts, "alice")["alice"])
    for _ in range(8):
        refusal(accounts, "alice", "wrong", "10.0.0.9")
    assert accounts.log_in("alice", PASSWORD, HOME).token


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_class_behind_one_address_is_not_locked_by_its_mistakes(tmp_path: Path) -> None:
    throttle = Throttle(Records(tmp_path), Clock())
    for number in range(24):
        for _ in range(2):
            assert throttle.wait(f"s{number}", HOME, known=True) == 0
            throttle.note_failure(f"s{number}", HOME)
    assert throttle.wait("late", HOME, known=True) == 0


def test_a_flood_at_one_address_slows_strangers_only(tmp_path: Path) -> None:
    clock = Clock()
    throttle = Throttle(Records(tmp_path), clock)
    throttle.note_success("alice", HOME)
    for number in range(300):
        throttle.note_failure(f"guess{number}", HOME)
    assert throttle.wait("guess", HOME, known=False) > 0
    assert throttle.wait("alice", HOME, known=True) == 0, "who got in from here before is not held up"
    assert throttle.wait("bob", HOME, known=True) == 0, "a known account has attempts of its own"
    clock.now += 600
    assert throttle.wait("guess", HOME, known=False) == 0


def test_guessing_one_account_from_many_addresses_is_slowed(tmp_path: Path) -> None:
    throttle = Throttle(Records(tmp_path), Clock())
    for number in range(40):
        throttle.note_failure("alice", f"10.1.0.{number}")
    assert throttle.wait("alice", "10.2.0.1", known=True) > 0


def test_the_wait_doubles_and_ends(tmp_path: Path) -> None:
    clock = Clock()
    throttle = Throttle(Records(tmp_path), clock)
    waits = []
    for _ in range(12):
        throttle.note_failure("alice", HOME)
        waits.append(throttle.wait("alice", HOME, known=True))
        clock.now += waits[-1]
        assert throttle.wait("alice", HOME, known=True) == 0
    assert waits == [0, 0, 0, 0, 15, 30, 60, 120, 240, 300, 300, 300]


def test_ten_thousand_sessions_of_one_account_are_ten(accounts: Accounts) -> None:
    enrol(accounts, "alice")
    account = accounts.find("alice")
    assert account
    tokens = [accounts.begin_session(account, HOME, must_choose=False).token for _ in range(200)]
    assert accounts.count_sessions() == SESSIONS_EACH
    assert accounts.find_session(tokens[-1])
    assert accounts.find_session(tokens[0]) is None


def test_a_forged_token_is_nobody(accounts: Accounts) -> None:
    for token in ("", "x", "\ud800", "' OR 1=1 --", "é" * 100):
        assert accounts.find_session(token) is None


def test_a_closed_account_has_no_session_any_more(accounts: Accounts) -> None:
    token = with_password(accounts, "alice", enrol(accounts, "alice")["alice"])
    accounts.set_account("alice", "Alice", Role.STUDENT, (), closed=True)
    assert accounts.find_session(token) is None


def test_enrolling_again_keeps_passwords_and_draws_codes_for_the_others(accounts: Accounts) -> None:
    first = enrol(accounts, "alice", "bob")
    with_password(accounts, "alice", first["alice"])
    again = enrol(accounts, "alice", "bob", "chloe")
    assert again["alice"] == ""
    assert again["bob"] not in {"", first["bob"]}
    assert again["chloe"]
    assert accounts.log_in("alice", PASSWORD, HOME).token


def test_a_student_of_two_classes_is_one_person(accounts: Accounts) -> None:
    enrol(accounts, "alice", class_name="one")
    enrol(accounts, "alice", "bob", class_name="two")
    assert accounts.classes_of("alice") == {"one", "two"}
    assert [row.name for row in accounts.list_accounts()] == ["alice", "bob"]


def test_two_people_with_one_name_in_two_classes_are_refused(accounts: Accounts) -> None:
    accounts.enrol("one", "", [student("lea-martin", "Léa Martin")])
    with pytest.raises(Refused, match="lea-martin"):
        accounts.enrol("two", "", [student("lea-martin", "lea.martin"), student("bob")])
    assert accounts.classes().keys() == {"one"}, "nothing was changed"


def test_a_student_cannot_be_given_the_name_of_a_trainer(accounts: Accounts) -> None:
    assert accounts.set_account("durand", "Mme Durand", Role.TRAINER, ("*",))
    with pytest.raises(Refused, match="durand"):
        enrol(accounts, "durand")
    enrol(accounts, "alice")
    with pytest.raises(Refused, match="alice"):
        accounts.set_account("alice", "Alice", Role.ADMIN, ())


def test_a_name_of_ready_labs_is_nobodys(accounts: Accounts) -> None:
    with pytest.raises(Refused, match="spare-1"):
        enrol(accounts, "spare-1")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "azertyuiop", "alice", "alice12345", "x" * 300])
def test_bad_passwords_are_refused_with_a_reason(password: str) -> None:
    assert refuse_password(password, "alice")


def test_a_password_is_the_same_from_a_keyboard_that_composes(accounts: Accounts) -> None:
    code = enrol(accounts, "alice")["alice"]
    accounts.choose_password(accounts.log_in("alice", code, HOME).row, "", "été à la mer", HOME)
    assert accounts.log_in("alice", "e\u0301te\u0301 a\u0300 la mer", HOME).token


def test_changing_a_password_needs_the_old_one(accounts: Accounts) -> None:
    with_password(accounts, "alice", enrol(accounts, "alice")["alice"])
    session = accounts.log_in("alice", PASSWORD, HOME).row
    with pytest.raises(NotDone) as caught:
        accounts.choose_password(session, "wrong", "un autre mot de passe", HOME)
    assert caught.value.refusal is Refusal.WRONG_SECRET
    accounts.choose_password(session, PASSWORD, "un autre mot de passe", HOME)
    assert refusal(accounts, "alice", PASSWORD).refusal is Refusal.WRONG_SECRET


def test_buckets_fill_and_drain_for_each() -> None:
    clock = Clock()
    buckets = Buckets(rate=2, burst=3, clock=clock)
    assert [buckets.take("alice") for _ in range(5)] == [True, True, True, False, False]
    assert buckets.take("bob")
    clock.now += 1
    assert [buckets.take("alice") for _ in range(3)] == [True, True, False]
