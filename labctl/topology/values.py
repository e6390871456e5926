"""The values that keys of a topology take: names, texts and their patterns, and what all of its models share."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from labctl.language import N_
from labctl.topology.hardware import LARGEST_DISK

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,30}$"
SERVICE_PATTERN = r"^[a-z][a-z0-9_]{0,30}$"
# Linux takes at most 15 characters for a link, and the name is given to the guest's interface as it is.
INTERFACE_PATTERN = r"^[a-z][a-z0-9-]{0,14}$"
# A disk's name is its serial number too, of which virtio and SATA take 20 characters.
DISK_PATTERN = r"^[a-z][a-z0-9-]{0,19}$"
COMPETENCY_PATTERN = r"^B[1-3](\.[1-9]){0,2}$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
URL_PATTERN = r"^https?://[^\s'\"<>]+$"
PATH_PATTERN = r"^/[^\x00-\x1f]*$"
WINDOWS_PATH_PATTERN = r"^[A-Za-z]:\\[^\x00-\x1f<>:\"|?*/]*$"
ANY_PATH_PATTERN = r"^(/|[A-Za-z]:\\)[^\x00-\x1f]*$"
REGISTRY_PATTERN = r"^(HKLM|HKU|HKCR|HKCC)\\[^\x00-\x1f]+$"
FEATURE_PATTERN = r"^[A-Za-z][A-Za-z0-9.-]{0,63}$"
MODE_PATTERN = r"^[0-7]{3,4}$"
UNIT_PATTERN = r"^[A-Za-z0-9@:._-]+$"
PACKAGE_PATTERN = r"^[a-z0-9][a-z0-9+.-]{1,80}$"
VERSION_PATTERN = r"^[0-9A-Za-z.-]{1,20}$"
# A directory puts its name before a backslash or after an at sign, and its groups have spaces in their names.
ACCOUNT_PATTERN = r"^[^\x00-\x1f\x7f:,/-][^\x00-\x1f\x7f:,/]{0,63}$"
SHARE_PATTERN = r"^[^\x00-\x1f\x7f/\\:*?<>|;,=+\[\]\"-][^\x00-\x1f\x7f/\\:*?<>|;,=+\[\]\"]{0,79}$"
OID_PATTERN = r"^[0-2](\.[0-9]{1,10}){1,60}$"
LINK_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$"
FACILITY_PATTERN = r"^[a-z0-9]{2,10}\.[a-z]{3,7}$"
LOGIN_PATTERN = r"^[a-z][a-z0-9_-]{0,30}$"
DOMAIN_PATTERN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,24}$"
EXAM_NUMBER_PATTERN = r"^E[1-9]$"
PICTURE_PATTERN = r"^[a-z0-9#?._-]{1,63}$"  # of a name: some of its letters are drawn

PASSWORD_FILE = N_("instead: a file of the node that has it, as its first line or as `password = …`")

# What each pattern asks for, as people are told.
PATTERNS: Mapping[str, str] = {
    NAME_PATTERN: N_("a name of 1 to 31 small letters, digits and dashes that starts with a letter"),
    SERVICE_PATTERN: N_("a name of 1 to 31 small letters, digits and underscores that starts with a letter"),
    INTERFACE_PATTERN: N_("a name of 1 to 15 small letters, digits and dashes that starts with a letter"),
    DISK_PATTERN: N_("a name of 1 to 20 small letters, digits and dashes that starts with a letter"),
    COMPETENCY_PATTERN: N_("a competency such as B2.2.1"),
    LINE_PATTERN: N_("a text of one line"),
    URL_PATTERN: N_("an address that starts with http:// or https://"),
    PATH_PATTERN: N_("a path that starts with /"),
    WINDOWS_PATH_PATTERN: N_("a path of Windows, such as C:\\Partages"),
    ANY_PATH_PATTERN: N_("a path that starts with /, or one of Windows such as C:\\Partages"),
    REGISTRY_PATTERN: N_("a key of the registry that starts with HKLM\\, HKU\\, HKCR\\ or HKCC\\"),
    FEATURE_PATTERN: N_("a name as Windows writes it, such as AD-Domain-Services"),
    MODE_PATTERN: N_('permissions in octal, quoted, such as "0640"'),
    UNIT_PATTERN: N_("the name of a systemd unit, or of a service of Windows"),
    PACKAGE_PATTERN: N_("a Debian package"),
    VERSION_PATTERN: N_('a version in quotes, such as "1.0"'),
    ACCOUNT_PATTERN: N_("the name of an account or a group"),
    SHARE_PATTERN: N_("the name of a share"),
    OID_PATTERN: N_("an OID in digits, such as 1.3.6.1.2.1.1.5.0"),
    LINK_PATTERN: N_("the name of an interface or a connection"),
    FACILITY_PATTERN: N_("a facility and a level, such as user.notice"),
    LOGIN_PATTERN: N_("a login name of 1 to 31 small letters, digits, dashes and underscores"),
    DOMAIN_PATTERN: N_("a domain name in small letters, such as cimes.example"),
    EXAM_NUMBER_PATTERN: N_("the number of an exam, such as E6"),
    PICTURE_PATTERN: N_("a name in which # stands for a digit and ? for a consonant"),
}

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
ServiceName = Annotated[str, StringConstraints(pattern=SERVICE_PATTERN)]
InterfaceName = Annotated[str, StringConstraints(pattern=INTERFACE_PATTERN)]
DiskName = Annotated[str, StringConstraints(pattern=DISK_PATTERN)]
DiskSize = Annotated[int, Field(ge=1, le=LARGEST_DISK)]  # GiB, as the guest sees it
CompetencyId = Annotated[str, StringConstraints(pattern=COMPETENCY_PATTERN)]
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=LINE_PATTERN)]
FilePath = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=500)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Model(BaseModel):
    """What all models share: unknown keys are refused and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Text(Model):
    """A text for people, in both languages."""

    en: Sentence = Field(description=N_("in English"))
    fr: Sentence = Field(description=N_("in French"))

    def pick(self, language: str) -> str:
        """Return the text in "fr" or "en"."""
        return self.fr if language == "fr" else self.en
