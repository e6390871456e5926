"""What people do in a browser: with the keyboard alone, without JavaScript, and while things change."""

import re

from playwright.sync_api import Page, expect

from labctl.worker.answers import Event
from labctl.worker.requests import Act, Reset, RunChecks, Subscribe
from labctl.worker.values import LabState
from tests.browser.conftest import Site, Visits


def press_until(page: Page, words: str, key: str = "Tab", most: int = 60) -> None:
    """Go on with a key until what has the focus is called so."""
    for _press in range(most):
        page.keyboard.press(key)
        name = page.evaluate("(document.activeElement.innerText || document.activeElement.id || '').trim()")
        if words in name:
            return
    raise AssertionError(words)


def test_first_login_with_the_keyboard_alone(visitor: Visits) -> None:
    page = visitor().open("/")
    expect(page).to_have_url(re.compile("/login$"))
    press_until(page, "Aller au contenu")
    page.keyboard.press("Enter")
    press_until(page, "name")
    page.keyboard.type("e01")
    page.keyboard.press("Tab")
    page.keyboard.type("code-1")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/password$"))
    press_until(page, "new")
    page.keyboard.type("quatre mots sans rapport")
    page.keyboard.press("Tab")
    page.keyboard.type("quatre mots sans rapport")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/labs$"))
    press_until(page, "Un serveur web")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/labs/dmz-e01$"))


def test_a_reset_with_the_keyboard_from_the_drawing(visitor: Visits, site: Site) -> None:
    page = visitor("e01").open("/labs/dmz-e01")
    page.focus(".drawing a[href='#machine-web']")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#machine-web$"))
    press_until(page, "Remettre web à zéro")
    page.keyboard.press("Enter")
    expect(page.locator("h2")).to_have_text("Remettre web à zéro")
    press_until(page, "Remettre à zéro maintenant")
    page.keyboard.press("Enter")
    expect(page.locator("#jobs")).to_contain_text("remise à zéro de web")
    (reset,) = [one for one in site.worker.asked if isinstance(one, Reset)]
    assert (reset.nodes, reset.keep_checkpoint) == (("web",), "avant-remise-a-zero")


def test_everything_works_without_javascript(visitor: Visits, site: Site) -> None:
    page = visitor(scripts=False).open("/login")
    page.fill("#name", "e01")
    page.fill("#secret", "a long password")
    page.click("main button")
    page.click("text=Un serveur web")
    page.click("text=Contrôles")
    page.click("text=Lancer les contrôles")
    page.click("#hint-check-1")
    expect(page.locator("#check-check-1")).to_contain_text("table de routage")
    page.click("text=Points de reprise")
    page.fill("#name", "etape-5")
    page.click("text=Garder >> nth=-1")
    page.click("text=In English")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.click("text=Log out")
    expect(page).to_have_url(re.compile("/login$"))
    assert [one for one in site.worker.asked if isinstance(one, RunChecks)]
    trainer = visitor("durand", scripts=False).open("/classes/sisr2")
    trainer.fill("#filter", "07")
    trainer.click("text=Afficher")
    expect(trainer.locator("tbody tr")).to_have_count(1)
    trainer.check("#c-dmz-e07")
    trainer.click("button[value=suspend]")
    trainer.click("form[action$='/act'] button.first")
    (act,) = [one for one in site.worker.asked if isinstance(one, Act)]
    assert (act.labs, act.verb) == (("dmz-e07",), "suspend")


def wait_for_stream(site: Site) -> None:
    """Wait until the page listens."""
    for _try in range(100):
        if site.worker.listeners:
            return
        site.loop.call_soon_threadsafe(lambda: None)
        import time

        time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_a_page_follows_what_happens_until_it_is_paused(visitor: Visits, site: Site) -> None:
    person = visitor("e01")
    page = person.open("/labs/dmz-e01")
    expect(page.locator("#live .state").first).to_contain_text("prêt")
    wait_for_stream(site)
    site.worker.state = LabState.PARTLY
    site.tell(Event(kind="lab", lab="dmz-e01"))
    expect(page.locator("#live .state").first).to_contain_text("en partie prêt", timeout=2000)
    expect(page.locator("#live-said")).to_contain_text("en partie prêt")
    (subscribed, *_others) = [one for one in site.worker.asked if isinstance(one, Subscribe)]
    assert subscribed.labs == ("dmz-e01",)
    page.click("#live-pause")
    expect(page.locator("#live-state")).to_have_text("L'actualisation est en pause.")
    page.wait_for_timeout(300)
    site.worker.state = LabState.STOPPED
    site.tell(Event(kind="lab", lab="dmz-e01"))
    page.wait_for_timeout(800)
    expect(page.locator("#live .state").first).to_contain_text("en partie prêt")
    page.reload()  # paused stays paused
    expect(page.locator("#live-state")).to_have_text("L'actualisation est en pause.")
    site.worker.state = LabState.FAILED
    page.click("#live-pause")
    expect(page.locator("#live .state").first).to_contain_text("en échec")
    assert person.seen.complaints == []


def test_what_is_chosen_and_focused_stays_so_when_the_board_changes(visitor: Visits, site: Site) -> None:
    page = visitor("durand").open("/classes/sisr2")
    wait_for_stream(site)
    page.check("#c-dmz-e03")
    page.focus("#l-dmz-e04")
    site.worker.names = {"e03": "Zoé"}
    site.tell(Event(kind="lab", lab="dmz-e03"))
    expect(page.locator("th", has_text="Zoé")).to_have_count(1)
    expect(page.locator("#c-dmz-e03")).to_be_checked()
    assert page.evaluate("document.activeElement.id") == "l-dmz-e04"
    page.click("#choose-all")
    assert page.locator("#many input[name=lab]:checked").count() == 24
    page.click("#choose-all")
    assert page.locator("#many input[name=lab]:checked").count() == 0


def test_the_end_of_a_session_leads_to_the_way_in(visitor: Visits, site: Site) -> None:
    person = visitor("e01")
    page = person.open("/labs/dmz-e01")
    wait_for_stream(site)
    person.context.clear_cookies()
    site.tell(Event(kind="session"))
    expect(page).to_have_url(re.compile("/login"))


def test_a_page_for_paper_has_no_buttons(visitor: Visits) -> None:
    page = visitor("durand").open("/classes/sisr2")
    page.emulate_media(media="print")
    expect(page.locator(".top")).to_be_hidden()
    expect(page.locator(".acts")).to_be_hidden()
