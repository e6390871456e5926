"""A student's and a trainer's whole way through the portal, in Chromium, before real machines that real people use.

The pictures are kept in `LABCTL_TEST_PICTURES`, or in the folder of the test, for people to look at.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pypdf import PdfReader

from tests.browser.conftest import Visitor, Visits, open_chromium
from tests.browser.keyboards import Azerty
from tests.vm.conftest import LAB, Installation
from tests.vm.libvirtd import kill_daemon, start_daemon
from tests.vm.portals import PROCESSES, TRAINER, Portal, begin_sessions, forget_people, open_portal

pytestmark = [
    pytest.mark.vm, pytest.mark.labs, pytest.mark.browser, pytest.mark.usefixtures("lab"), pytest.mark.timeout(1800),
]  # fmt: skip

OWNER = LAB.removeprefix("dmz-")
CLASS = "sisr2"
NODE = "client"
PATIENCE = 300.0  # seconds; emulated machines take their time
SLOWLY = PATIENCE * 1000  # for the browser
CODE = re.compile(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}")
TEXT = "éèçà@#€~{az.AM?<>ù*$20"
PROMPT = re.compile(r"login:|[#$]")  # the images log root in by themselves
PASSWORD = "quatre mots sans rapport"
LISTEN = """
systemctl stop '*getty@{terminal}.service'; stty -F /dev/{terminal} sane iutf8; rm -f /root/typed
setsid sh -c 'head -n1 </dev/{terminal} >/root/typed.part; mv /root/typed.part /root/typed' </dev/null >/dev/null 2>&1 &
"""


def wait_for(look: Any, seconds: float = PATIENCE) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(look)


@pytest.fixture(scope="module")
def portal(labctl: Installation, lab: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    assert lab.returncode == 0, lab.stderr
    folder = tmp_path_factory.mktemp("class")
    forget_people()
    roster, sheet = folder / f"{CLASS}.csv", folder / "comptes.pdf"
    roster.write_text(f"id;name;group\n{OWNER};Léa Martin;A\n", encoding="utf-8")
    done = labctl.run("portal", "accounts", "--class", str(roster), "--sheet", str(sheet))
    assert done.returncode == 0, done.stderr
    (code,) = CODE.findall("\n".join(page.extract_text() for page in PdfReader(sheet).pages))
    with open_portal(labctl, begin_sessions(class_name=CLASS), codes={OWNER: code}) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_chromium() as found:
        yield found


@pytest.fixture
def people(portal: Portal, browser: Browser) -> Iterator[Visits]:
    visits = Visits(portal, browser)
    yield visits
    visits.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("LABCTL_TEST_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def says(page: Page, words: str | re.Pattern[str]) -> None:
    expect(page.locator("#console-state")).to_have_text(words, timeout=SLOWLY)


def enter(person: Visitor, mode: str, more: str = "") -> Page:
    page = person.open(f"/labs/{LAB}/machines/{NODE}/console?mode={mode}{more}")
    says(page, "Connecté.")
    return page


def log_in(person: Visitor, secret: str) -> Page:
    page = person.open("/login")
    page.fill("#name", OWNER)
    page.fill("#secret", secret)
    page.press("#secret", "Enter")
    return page


def student(people: Visits, portal: Portal) -> Visitor:
    """Return the student before a browser, with a session; the first time by the code of the sheet."""
    person = people()
    if OWNER in portal.tokens:
        return person.log_in(OWNER)
    page = log_in(person, portal.codes[OWNER])
    expect(page).to_have_url(re.compile("/password$"))
    page.fill("#new", PASSWORD)
    page.fill("#again", PASSWORD)
    page.press("#again", "Enter")
    expect(page).to_have_url(re.compile("/labs$"))
    (cookie,) = [one for one in person.context.cookies() if one.get("name") == "__Host-session"]
    portal.tokens[OWNER] = str(cookie.get("value"))
    return person


def ready(page: Page) -> None:
    """Wait on the page of the lab until all of it is ready."""
    expect(page.locator("#live .state").first).to_have_text(re.compile(r"✔\s*tout est prêt"), timeout=SLOWLY)


def shown(labctl: Installation) -> str:
    """Return the text of the guest's first terminal, as its own kernel draws it."""
    return labctl.on(NODE, "cat", "/dev/vcs1").stdout


def listen(labctl: Installation, terminal: str) -> None:
    """Let nobody but us read a terminal of the guest: one line of it goes into a file."""
    done = labctl.on(NODE, "sh", "-c", LISTEN.format(terminal=terminal))
    assert done.returncode == 0, done.stderr
    time.sleep(2)  # until `head` has opened it


def heard(labctl: Installation, terminal: str) -> str:
    """Return that line, and give the terminal back."""
    done = wait_for(lambda: (found := labctl.on(NODE, "cat", "/root/typed")).returncode == 0 and found)
    unit = "serial-getty" if terminal.startswith("ttyS") else "getty"
    assert labctl.on(NODE, "systemctl", "start", f"{unit}@{terminal}").returncode == 0
    text: str = done.stdout
    return text.rstrip("\n")


def colours(page: Page) -> int:
    look = """canvas => new Set(new Uint32Array(
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
    return int(page.locator("#screen canvas").evaluate(look))


def test_a_code_of_the_sheet_leads_to_the_lab_and_serves_once(people: Visits, portal: Portal, pictures: Path) -> None:
    person = student(people, portal)
    page = person.open("/labs")
    page.click("text=Un serveur web en DMZ")
    ready(page)
    page.screenshot(path=pictures / "real-lab.png")
    assert person.violations() == []
    page = log_in(people(), portal.codes[OWNER])
    expect(page.locator("[role=alert]")).to_be_visible()
    expect(page).to_have_url(re.compile("/login"))


def test_the_screen_shows_the_login_prompt(
    people: Visits, portal: Portal, labctl: Installation, pictures: Path
) -> None:
    person = student(people, portal)
    page = person.open(f"/labs/{LAB}")
    page.click(f"#open-{NODE}-graphics")
    says(page, "Connecté.")
    page.keyboard.press("Enter")  # a blank screen wakes
    wait_for(lambda: colours(page) > 1)
    wait_for(lambda: PROMPT.search(shown(labctl)))
    time.sleep(3)  # until what was drawn last has come
    page.screenshot(path=pictures / "real-screen.png")
    (pictures / "real-screen-canvas.png").write_bytes(page.locator("#screen canvas").screenshot())
    assert person.violations() == []
    assert person.seen.complaints == []


def test_what_an_azerty_keyboard_types_on_the_screen_is_what_the_guest_reads(
    people: Visits, portal: Portal, labctl: Installation, pictures: Path
) -> None:  # T15
    page = enter(student(people, portal), "graphics")
    wait_for(lambda: colours(page) > 1)
    listen(labctl, "tty1")
    Azerty(page, windows=False).write(TEXT)
    page.keyboard.press("Enter")
    assert heard(labctl, "tty1") == TEXT
    listen(labctl, "tty1")
    page.click("#paste")
    page.fill("#paste-text", f"{TEXT} êï «\n")
    page.click("#paste-dialog button.first")
    says(page, "C'est tapé.")
    page.screenshot(path=pictures / "real-screen-typed.png")
    assert heard(labctl, "tty1") == f"{TEXT} êï «"


def test_the_serial_console_reads_what_is_typed(
    people: Visits, portal: Portal, labctl: Installation, pictures: Path
) -> None:
    page = enter(student(people, portal), "text")
    page.keyboard.press("Enter")
    expect(page.locator(".xterm-rows")).to_contain_text(PROMPT, timeout=SLOWLY)
    page.screenshot(path=pictures / "real-text.png")
    listen(labctl, "ttyS0")
    Azerty(page, windows=False).write(TEXT)
    page.keyboard.press("Enter")
    assert heard(labctl, "ttyS0") == TEXT


def test_a_shell_by_ssh(people: Visits, portal: Portal, pictures: Path) -> None:
    person = student(people, portal)
    page = enter(person, "ssh")
    expect(page.locator(".xterm-rows")).to_contain_text(PROMPT, timeout=SLOWLY)
    page.keyboard.type("echo $((6*7))-$(hostname); stty size")
    page.keyboard.press("Enter")
    expect(page.locator(".xterm-rows")).to_contain_text(f"42-{NODE}", timeout=SLOWLY)
    page.screenshot(path=pictures / "real-ssh.png")
    assert person.violations() == []


def test_a_trainer_watches_and_takes_part(people: Visits, portal: Portal, labctl: Installation, pictures: Path) -> None:
    page = enter(student(people, portal), "ssh")
    trainer = people(TRAINER)
    board = trainer.open(f"/classes/{CLASS}")
    board.click(f"a[href*='/machines/{NODE}/console']")
    watching = trainer.page
    says(watching, "Connecté.")
    expect(watching.locator(".state.info")).to_contain_text("vous regardez seulement")
    wait_for(lambda: colours(watching) > 1)
    expect(page.locator("#console-people")).to_have_text("Mme Durand regarde")
    watching.screenshot(path=pictures / "real-watching.png")
    watching.click("nav >> text=SSH")
    says(watching, "Connecté.")
    page.keyboard.type("echo $((7*9))-seen")
    page.keyboard.press("Enter")
    expect(watching.locator(".xterm-rows")).to_contain_text("63-seen", timeout=SLOWLY)
    watching.click("text=Intervenir")
    says(watching, "Connecté.")
    expect(page.locator("#console-people")).to_have_text("Mme Durand peut aussi taper ici")
    watching.keyboard.type("touch /root/trainer-was-here")
    watching.keyboard.press("Enter")
    wait_for(lambda: labctl.on(NODE, "test", "-e", "/root/trainer-was-here").returncode == 0)


def test_the_checks_by_the_page(people: Visits, portal: Portal) -> None:
    page = student(people, portal).open(f"/labs/{LAB}/checks")
    page.click("text=Lancer les contrôles")
    expect(page.locator(".note.busy")).to_contain_text("contrôles")
    wait_for(lambda: passed(page), 900)


def passed(page: Page) -> bool:
    """Return whether the checks have run, and all have passed."""
    page.reload()
    counts = [int(text) for text in re.findall(r"\d+", " ".join(page.locator("main ul.counts li").all_inner_texts()))]
    return not page.locator(".note.busy").count() and len(counts) == 2 and counts[0] > 10 and counts[1] == 0


def is_new(labctl: Installation) -> bool:
    """Return whether the machine answers and has lost what was done on it; one that goes takes the question with it."""
    with suppress(subprocess.TimeoutExpired):
        look = "test -e /root/mine || echo lost"
        return labctl.run("ssh", LAB, NODE, "--", "sh", "-c", look, timeout=60).stdout.strip() == "lost"
    return False


def test_a_reset_by_the_page_cuts_the_console_and_says_so(people: Visits, portal: Portal, labctl: Installation) -> None:
    assert labctl.on(NODE, "touch", "/root/mine").returncode == 0
    person = student(people, portal)
    page = enter(person, "text")
    other = person.context.new_page()
    other.goto(f"{portal.address}/labs/{LAB}/reset?node={NODE}")
    other.uncheck("#keep")
    other.click("form[action$='/reset'] button.danger")
    says(page, re.compile("Cette console a été fermée|La machine est éteinte"))
    expect(other.locator("#jobs")).to_contain_text("réinitialisation")
    wait_for(lambda: is_new(labctl), 600)
    other.reload()
    ready(other)
    page.click("#connect")
    says(page, "Connecté.")


@pytest.mark.parametrize("part", PROCESSES)
def test_a_process_that_is_killed_is_told_and_the_page_comes_back(
    people: Visits, portal: Portal, part: str
) -> None:  # F-36 F-37
    """The sentence is there within seconds, and the console again without a hand on it."""
    person = student(people, portal)
    page = enter(person, "text")
    lab = person.context.new_page()
    lab.goto(f"{portal.address}/labs/{LAB}")
    ready(lab)
    portal.part(part).kill()
    says(page, re.compile("La connexion est perdue|Le portail|fermé"))
    says(page, "Connecté.")
    page.keyboard.press("Enter")
    expect(page.locator(".xterm-rows")).to_contain_text(PROMPT, timeout=SLOWLY)
    expect(lab.locator("#live-state")).to_have_text("Cette page s'actualise d'elle-même.", timeout=SLOWLY)
    lab.reload()
    ready(lab)


def test_a_libvirt_that_is_killed_is_told_and_the_pages_come_back(
    people: Visits, portal: Portal, labctl: Installation, daemon: int, pictures: Path
) -> None:  # F-10 F-11
    """The machines run on: the screen does not even notice. What needs libvirt says so, and is there again after it."""
    person = student(people, portal)
    screen = enter(person, "graphics")
    wait_for(lambda: colours(screen) > 1)
    page, lab = person.context.new_page(), person.context.new_page()
    page.goto(f"{portal.address}/labs/{LAB}/machines/{NODE}/console?mode=text")
    says(page, "Connecté.")
    lab.goto(f"{portal.address}/labs/{LAB}")
    ready(lab)
    note = lab.locator("#live .note.bad", has_text="ne peuvent pas être jointes")
    expect(note).to_have_count(0)
    boot = labctl.on(NODE, "cat", "/proc/sys/kernel/random/boot_id").stdout
    kill_daemon(daemon)
    try:
        expect(note).to_be_visible(timeout=60_000)
        says(page, re.compile("ne peuvent pas être jointes.*Nouvel essai"))
        lab.screenshot(path=pictures / "real-without-libvirt.png")
        assert person.violations() == []
        says(screen, "Connecté.")
    finally:
        start_daemon()
    expect(note).to_have_count(0, timeout=SLOWLY)
    ready(lab)
    says(page, "Connecté.")
    page.keyboard.press("Enter")
    expect(page.locator(".xterm-rows")).to_contain_text(PROMPT, timeout=SLOWLY)
    says(screen, "Connecté.")
    assert labctl.on(NODE, "cat", "/proc/sys/kernel/random/boot_id").stdout == boot


def test_a_guest_that_is_switched_off_is_said_to_be_off_and_can_be_switched_on_again(
    people: Visits, portal: Portal, labctl: Installation
) -> None:
    person = student(people, portal)
    screen = enter(person, "graphics")
    page = person.context.new_page()
    page.goto(f"{portal.address}/labs/{LAB}/machines/{NODE}/console?mode=text")
    says(page, "Connecté.")
    labctl.on(NODE, "systemctl", "poweroff")
    for one in (screen, page):
        says(one, re.compile("^La machine est éteinte"))
    page.click("#connect")
    says(page, re.compile("éteinte"))
    lab = person.open(f"/labs/{LAB}")
    expect(lab.locator(f"#machine-{NODE}")).to_contain_text("à l'arrêt", timeout=SLOWLY)
    lab.click("#wake")
    ready(lab)
    says(enter(person, "text"), "Connecté.")
