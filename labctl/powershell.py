"""PowerShell as text: command lines for a Windows machine's SSH server, scripts for its standard input, and its errors.

The machine's login shell is Windows PowerShell 5.1. Words of a script are data; nothing is put together with them.
"""

import base64
import re
from collections.abc import Sequence
from xml.etree import ElementTree

INTERPRETER = ("powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand")
# A script that fails ends with code 1, and progress bars would be written among the errors.
SETTINGS = "$ErrorActionPreference = 'Stop'; $ProgressPreference = 'SilentlyContinue'; "
# As Ansible does: the interpreter itself reads standard input, by lines and in the code page of the console. In base64
# neither matters, and the script may be as long as it likes: a command line may not (32,767 letters).
READ_SCRIPT = SETTINGS + (
    "$labctl = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String(@($input) -join '')); "
    "& ([ScriptBlock]::Create($labctl))"
)
# No shell of Windows changes it. PowerShell 5.1 cuts an option at its first dot, though: -a.b becomes two words.
PLAIN_WORD = re.compile(r"(?!-[^.]*\.)[A-Za-z0-9+/=._:-]+")
QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")  # PowerShell takes each of them for a quotation mark
CODE_PAGE = "cp850"  # of the console of a French or other western Windows
CLIXML = "#< CLIXML"
LINE = 4000  # letters of a script on one line of standard input
ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
NAMESPACE = "{http://schemas.microsoft.com/powershell/2004/04}"


def encode(script: str) -> str:
    """Return a script as -EncodedCommand takes it: base64 of UTF-16."""
    return base64.b64encode(script.encode("utf-16-le")).decode("ascii")


RUN_SCRIPT = (*INTERPRETER, encode(READ_SCRIPT))  # the program that runs the script on its standard input


def payload(script: str) -> bytes:
    """Return a script as RUN_SCRIPT reads it from standard input."""
    text = base64.b64encode(script.encode("utf-8")).decode("ascii")
    return "".join(f"{text[start : start + LINE]}\n" for start in range(0, len(text), LINE)).encode("ascii")


def quote(word: str) -> str:
    """Return a word as a PowerShell string in which nothing is special."""
    return "'" + QUOTES.sub(r"\1\1", word) + "'"


def native(word: str) -> str:
    """Return a word so that a program gets it whole: PowerShell 5.1 marks those with spaces, and escapes nothing."""
    marked = re.sub(r'(\\*)"', r'\1\1\\"', word)
    needs_marks = not word or re.search(r"[ \t]", word)
    return re.sub(r"(\\+)$", r"\1\1", marked) if needs_marks else marked


def command_line(argv: Sequence[str]) -> str:
    """Return what the login shell is told to run a program without a change to its words, and to end with its code."""
    if all(PLAIN_WORD.fullmatch(word) for word in argv):
        return " ".join(argv) + "; exit $LASTEXITCODE"
    program, *words = argv
    # An empty word is dropped by 5.1 unless it brings its own marks.
    told = [quote(native(word) if word else '""') for word in words]
    script = SETTINGS + " ".join(["&", quote(program), *told]) + "; exit $LASTEXITCODE"
    return command_line([*INTERPRETER, encode(script)])


def decode(data: bytes) -> str:
    """Return output of a Windows machine: UTF-8 where it is, else as its console writes; lines end as on Linux."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode(CODE_PAGE, "replace")
    return text.replace("\r\n", "\n")


def read_errors(text: str) -> str:
    """Return standard error with the errors in place of the XML that PowerShell wraps them in (CLIXML).

    What cannot be read stays as it is: the machine may write anything.
    """
    before, found, rest = text.partition(CLIXML)
    if not found or "<!" in rest:  # a document type may be a bomb
        return text
    said = []
    for part in re.findall(r"<Objs.*?</Objs>", rest, re.DOTALL):
        try:
            items = ElementTree.fromstring(part).iter(f"{NAMESPACE}S")
        except ElementTree.ParseError:
            return text
        said += [unescape(item.text or "") for item in items if item.get("S") == "Error"]
    after = rest.rpartition("</Objs>")[2]
    return before + "".join(said).replace("\r\n", "\n") + after.lstrip("\r\n")


def unescape(text: str) -> str:
    """Return a text of CLIXML with its control letters, which stand there as _x000D_."""
    found = ESCAPED.sub(lambda letter: chr(int(letter[1], 16)), text)
    return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
