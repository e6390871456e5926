"""Consoles in Chromium before a real worker: the screen of a real QEMU, a terminal, every key, and every end."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from labctl.worker.certificate import ensure_certificate
from labctl.worker.client import Client
from labctl.worker.console_room import Room
from tests.browser.conftest import DESKTOP, PHONE, ZOOMED, Visitor, Visits
from tests.browser.keyboards import CONTROL_ALT_DELETE, SYSTEMS, TEXT, become, keyboard
from tests.lab.doubles import World, make_place
from tests.portal.serving import NODE, serving
from tests.worker.computer import Computer, run_computer
from tests.worker.offices import ALICE, BOB, Desk, make_labs, open_desk

MODES = ("graphics", "text", "ssh")
LOOKS = {"desktop": (DESKTOP, False), "dark": (DESKTOP, True), "phone": (PHONE, False), "zoomed": (ZOOMED, True)}
SECONDS = 120.0  # a moment, unless the host is full of machines
PROMPT = "desk login: "


@dataclass
class Hall:
    """A portal, its people, and the machine behind all consoles."""

    address: str
    desk: Desk
    machine: Computer
    typed_in: Path

    def token(self, name: str) -> str:
        return self.desk.tokens[name]

    @property
    def typed(self) -> bytes:
        """What reached the terminal."""
        return self.typed_in.read_bytes()

    @property
    def room(self) -> Room:
        room = self.desk.office.consoles
        assert isinstance(room, Room)
        return room

    def viewers(self) -> int:
        return sum(len(names) for lab in (ALICE, BOB) for names in self.room.holders(lab).values())


@pytest.fixture(scope="module")
def computer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computer]:
    with run_computer(tmp_path_factory.mktemp("computer")) as found:
        yield found


@pytest.fixture(scope="module")
def shared_hall(tmp_path_factory: pytest.TempPathFactory, computer: Computer) -> Iterator[Hall]:
    home, world = tmp_path_factory.mktemp("home"), World()
    typed = home / "typed"
    computer.argv = ["sh", "-c", f"stty raw -echo; printf 'Debian GNU/Linux 13\r\n{PROMPT}'; exec tee -a {typed}"]
    make_labs(make_place(home, world), "alice", "bob")
    certificate = ensure_certificate(home, ("localhost",))
    with open_desk(home, world, Room(computer)) as desk, serving(Client(desk.client.path), certificate) as address:
        yield Hall(address, desk, computer, typed)


@pytest.fixture
def hall(shared_hall: Hall) -> Hall:
    wait_for(lambda: shared_hall.viewers() == 0)  # what an earlier test had open is closed
    shared_hall.typed_in.write_bytes(b"")
    shared_hall.machine.forget()
    shared_hall.machine.held, shared_hall.machine.running = False, True
    shared_hall.machine.reachable = True
    return shared_hall


@pytest.fixture
def people(hall: Hall, chromium: Browser) -> Iterator[Visits]:
    visits = Visits(hall, chromium)
    yield visits
    visits.close()


def wait_for(look: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < until, look
        time.sleep(0.05)


def place(mode: str, more: str = "") -> str:
    return f"/labs/{ALICE}/machines/{NODE}/console?mode={mode}{more}"


def enter(person: Visitor, mode: str, more: str = "") -> Page:
    """Open a console and wait until it shows what the machine shows."""
    page = person.open(place(mode, more))
    says(page, "Connecté.")
    if mode == "graphics":
        wait_for(lambda: len(colours(page)) > 1)
    else:
        expect(page.locator(".xterm-rows")).to_contain_text(PROMPT.strip())
    return page


def says(page: Page, words: str | re.Pattern[str]) -> None:
    expect(page.locator("#console-state")).to_have_text(words)


def colours(page: Page) -> list[str]:
    """Return the colours of the screen."""
    look = """canvas => {
        const found = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return [...new Set(new Uint32Array(found.buffer))].map(String);
    }"""
    found: list[str] = page.locator("#screen canvas").evaluate(look)
    return found


def focused(page: Page) -> str:
    name: str = page.evaluate("document.activeElement.id || document.activeElement.tagName.toLowerCase()")
    return name


def test_the_screen_of_a_real_qemu_is_drawn(people: Visits) -> None:
    alice = people("alice")
    page = enter(alice, "graphics")
    size = page.locator("#screen canvas").evaluate("canvas => [canvas.width, canvas.height]")
    assert size == [720, 400], "the text screen of a PC"
    assert focused(page) == "canvas"
    box = page.locator("#screen").bounding_box()
    assert box
    assert box["y"] + box["height"] <= DESKTOP[1], "nobody has to scroll to see the last line"
    assert alice.seen.complaints == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_azerty_keyboard_reaches_the_machine_as_it_is(people: Visits, hall: Hall, system: str) -> None:  # T15
    alice = people("alice")
    become(alice.page, system)
    page = enter(alice, "graphics")
    wanted = keyboard(page, system).write(TEXT)
    wait_for(lambda: len(hall.machine.scancodes) >= len(wanted))
    assert hall.machine.scancodes.hex(" ") == wanted.hex(" ")
    assert alice.seen.complaints == []


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("mode", ["text", "ssh"])
def test_an_azerty_keyboard_writes_in_a_terminal_what_is_printed_on_it(
    people: Visits, hall: Hall, mode: str, system: str
) -> None:
    alice = people("alice")
    become(alice.page, system)
    page = enter(alice, mode)
    assert focused(page) == "textarea"
    keyboard(page, system).write(TEXT)
    page.keyboard.insert_text("ê")  # a dead key ends so
    page.keyboard.press("Control+c")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp")
    wanted = f"{TEXT}ê\3\t\33\33[A".encode()
    wait_for(lambda: len(hall.typed) >= len(wanted))
    assert hall.typed == wanted
    expect(page.locator(".xterm-rows")).to_contain_text("éèçà@#€")
    assert alice.seen.complaints == []


def test_a_button_presses_control_alt_delete(people: Visits, hall: Hall) -> None:
    page = enter(people("alice"), "graphics")
    page.click("#ctrl-alt-del")
    wait_for(lambda: hall.machine.scancodes == CONTROL_ALT_DELETE)
    assert focused(page) == "canvas"


def paste(page: Page, text: str, layout: str = "") -> None:
    page.click("#paste")
    if layout:
        page.select_option("#paste-layout", layout)
    page.fill("#paste-text", text)
    page.click("#paste-dialog button.first")


def test_a_text_is_pasted_as_keys(people: Visits, hall: Hall) -> None:
    page = enter(people("alice"), "graphics")
    paste(page, "à @ê\n")
    says(page, "C'est tapé.")
    wanted = bytes.fromhex("0b8b 39b9 e0380b8be0b8 1a9a1292 1c9c")
    wait_for(lambda: len(hall.machine.scancodes) >= len(wanted))
    assert hall.machine.scancodes.hex(" ") == wanted.hex(" ")
    hall.machine.forget()
    paste(page, "aZ", "us")
    says(page, "C'est tapé.")
    wait_for(lambda: hall.machine.scancodes == bytes.fromhex("1e9e 2a2cacaa"))
    hall.machine.forget()
    paste(page, "漢")
    says(page, re.compile("漢"))
    assert hall.machine.scancodes == b""


def test_a_text_is_pasted_in_a_terminal(people: Visits, hall: Hall) -> None:
    page = enter(people("alice"), "text")
    paste(page, "echo « é » @ 漢\nexit\n")
    wanted = "echo « é » @ 漢\rexit\r".encode()
    wait_for(lambda: len(hall.typed) >= len(wanted))
    assert hall.typed == wanted
    page.click("#paste")
    page.keyboard.press("Escape")
    expect(page.locator("#paste-dialog")).to_be_hidden()
    assert hall.typed == wanted


@pytest.mark.parametrize("mode", MODES)
def test_a_person_at_the_keyboard_gets_out(people: Visits, hall: Hall, mode: str) -> None:
    """WCAG 2.1.2: the machine takes Tab and Escape, and the way out is written on the page."""
    page = enter(people("alice"), mode)
    expect(page.locator("#console-help")).to_contain_text("Ctrl, Alt et Maj")
    page.keyboard.press("Tab")
    assert focused(page) in {"canvas", "textarea"}
    hall.machine.forget()
    for key in ("Control", "Alt", "Shift"):
        page.keyboard.down(key)
    says(page, "Le clavier est de nouveau à vous.")
    for key in ("Shift", "Alt", "Control"):
        page.keyboard.up(key)
    assert focused(page) == "disconnect"
    if mode == "graphics":  # no key is left pressed in the machine
        wait_for(lambda: {0x9D, 0xB8} <= {*hall.machine.scancodes})
        assert 0x2A not in hall.machine.scancodes
    page.keyboard.press("Tab")
    assert focused(page) not in {"canvas", "textarea"}


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_screen_is_the_machines(people: Visits, mode: str) -> None:
    alice = people("alice")
    page = enter(alice, mode)
    page.click("#full-screen")
    wait_for(lambda: page.evaluate("document.fullscreenElement?.id") == "console")
    assert focused(page) in {"canvas", "textarea"}
    box = page.locator("#screen").bounding_box()
    assert box
    assert box["height"] > DESKTOP[1] * 0.75
    page.click("#full-screen")
    wait_for(lambda: page.evaluate("document.fullscreenElement === null"))
    assert alice.seen.complaints == []


def test_a_screen_reader_reads_the_terminal(people: Visits) -> None:
    page = enter(people("alice"), "text")
    button = page.get_by_role("button", name="Lecteur d'écran")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("list").get_by_text(PROMPT.strip())).to_have_count(1)
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("list").get_by_text(PROMPT.strip())).to_have_count(1)


@pytest.mark.parametrize("mode", MODES)
def test_a_trainer_looks_and_takes_part(people: Visits, hall: Hall, mode: str) -> None:
    alice = people("alice")
    page = enter(alice, mode)
    expect(page.locator("#console-people")).to_be_hidden()
    trainer = people("durand")
    watching = enter(trainer, mode, "&look=1")
    expect(page.locator("#console-people")).to_have_text("Durand regarde")
    expect(watching.locator("#console-people")).to_have_text("Alice peut aussi taper ici")
    expect(watching.locator("#paste, #ctrl-alt-del")).to_have_count(0)
    watching.click("#screen", position={"x": 100, "y": 40})
    keyboard(watching).write("zz")
    keyboard(page).write("a")
    wait_for(lambda: hall.machine.scancodes.hex() == "1090" if mode == "graphics" else hall.typed == b"a")
    watching.click("text=Intervenir")
    says(watching, "Connecté.")
    expect(page.locator("#console-people")).to_have_text("Durand peut aussi taper ici")
    wait_for(lambda: focused(watching) in {"canvas", "textarea"})
    keyboard(watching).write("z")
    wait_for(lambda: hall.machine.scancodes.hex() == "10901191" if mode == "graphics" else hall.typed == b"az")
    watching.close()
    expect(page.locator("#console-people")).to_be_hidden()
    assert alice.seen.complaints == trainer.seen.complaints == []


def test_a_console_that_somebody_else_holds_is_taken_over_by_a_button(people: Visits, hall: Hall) -> None:  # T9
    hall.machine.held = True
    page = people("alice").open(place("text"))
    says(page, re.compile("console"))
    assert focused(page) == "take-over"
    page.keyboard.press("Enter")
    says(page, "Connecté.")
    expect(page.locator("#take-over")).to_be_hidden()
    hall.machine.streams[-1].stop()
    says(page, "Quelqu'un a repris cette console, en dehors de cette page.")
    hall.machine.held = False
    page.keyboard.press("Enter")
    says(page, "Connecté.")


@pytest.mark.parametrize("mode", MODES)
def test_a_right_that_ends_is_said_and_the_last_picture_stays(people: Visits, hall: Hall, mode: str) -> None:
    alice = people("alice")
    page = enter(alice, mode)
    hall.room.cut(account="alice")
    says(page, re.compile("Cette console a été fermée"))
    assert focused(page) == "connect"
    if mode == "graphics":
        assert len(colours(page)) > 1
    else:
        expect(page.locator(".xterm-rows")).to_contain_text(PROMPT.strip())
    assert alice.violations() == []
    page.keyboard.press("Enter")
    says(page, "Connecté.")
    assert alice.seen.complaints == []


def test_a_machine_that_goes_off_is_said(people: Visits, hall: Hall) -> None:
    page = enter(people("alice"), "text")
    hall.machine.go_off()
    says(page, "La machine est éteinte. La page du labo permet de la rallumer.")
    expect(page.locator("#connect")).to_be_visible()


def test_a_libvirt_that_goes_away_is_said_and_the_console_comes_back_by_itself(people: Visits, hall: Hall) -> None:
    # F-10
    page = enter(people("alice"), "text")
    hall.machine.reachable = False
    hall.machine.streams[-1].libvirt = False
    hall.machine.streams[-1].stop()
    says(page, re.compile("ne peuvent pas être jointes.* Nouvel essai…"))
    expect(page.locator("#connect")).to_be_hidden()
    hall.machine.streams[-1].libvirt = hall.machine.reachable = True
    says(page, "Connecté.")
    expect(page.locator(".xterm-rows")).to_contain_text(PROMPT.strip())


def test_a_ticket_that_has_expired_is_said(people: Visits) -> None:
    alice = people("alice")
    old = '{"ticket": "' + "x" * 43 + '", "seconds": 30}'
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=old, content_type="application/json")

    alice.page.route("**/console/ticket", answer)
    page = alice.open(place("text"))
    says(page, re.compile("ticket"))
    assert len(asked) == 3, "one that expires on its way is asked for again, twice"
    assert focused(page) == "connect"
    alice.page.unroute("**/console/ticket")
    page.keyboard.press("Enter")
    says(page, "Connecté.")


def test_a_session_that_has_ended_leads_to_the_way_in(people: Visits) -> None:
    alice = people("alice")
    page = enter(alice, "text")
    alice.context.clear_cookies()
    page.click("#disconnect")
    says(page, "Déconnecté.")
    page.click("#connect")
    expect(page).to_have_url(re.compile("/login"))


@pytest.mark.parametrize("look", LOOKS)
def test_every_console_in_every_look(people: Visits, look: str) -> None:
    size, dark = LOOKS[look]
    found: dict[str, object] = {}
    for mode in MODES:
        person = people("alice", size=size, dark=dark)
        page = enter(person, mode)
        found[mode] = person.violations(), max(0, person.overflow())
        page.click("#paste")
        found[f"{mode}, paste"] = person.violations(), max(0, person.overflow())
        page.keyboard.press("Escape")
        if mode != "graphics":
            page.click("#reader")
            found[f"{mode}, reader"] = person.violations(), max(0, person.overflow())
        assert person.seen.complaints == []
        person.context.close()
    trainer = people("durand", size=size, dark=dark)
    enter(trainer, "graphics", "&look=1")
    found["looks"] = trainer.violations(), max(0, trainer.overflow())
    assert found == dict.fromkeys(found, ([], 0))
