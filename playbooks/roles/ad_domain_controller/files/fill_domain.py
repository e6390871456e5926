"""Gives a domain its password policy and its DNS records from a wish in JSON on standard input; prints what changed."""

import contextlib
import io
import json
import subprocess
import sys

import ldb
from samba.auth import system_session
from samba.dcerpc import dnsp
from samba.ndr import ndr_unpack
from samba.netcmd.main import samba_tool
from samba.param import LoadParm
from samba.samdb import SamDB

COMPLEX = 1  # DOMAIN_PASSWORD_COMPLEX, MS-SAMR 2.2.3.10
TICKS = 10_000_000  # the directory counts time in negative 100 ns
FOREVER = -(2**63)
DATA_FIELDS = {"A": dnsp.DNS_TYPE_A, "PTR": dnsp.DNS_TYPE_PTR, "CNAME": dnsp.DNS_TYPE_CNAME}


def apply_policy(db: SamDB, policy: dict) -> None:
    """Set those attributes of the domain that are not as wished."""
    attributes = ["pwdProperties"]
    wished = {
        "minPwdLength": policy["min_length"],
        "pwdHistoryLength": policy["history"],
        "minPwdAge": -policy["min_age_days"] * 86400 * TICKS,
        "maxPwdAge": -policy["max_age_days"] * 86400 * TICKS or FOREVER,
        "lockoutThreshold": policy["lockout_threshold"],
        "lockoutDuration": -policy["lockout_minutes"] * 60 * TICKS,
        "lockOutObservationWindow": -policy["lockout_minutes"] * 60 * TICKS,
    }
    domain = db.get_default_basedn()
    found = db.search(domain, ldb.SCOPE_BASE, attrs=[*attributes, *wished])[0]
    flags = int(found["pwdProperties"][0])
    wished["pwdProperties"] = flags | COMPLEX if policy["complexity"] else flags & ~COMPLEX
    message = ldb.Message(domain)
    for name, value in wished.items():
        if name not in found or int(found[name][0]) != value:
            message[name] = ldb.MessageElement(str(value), ldb.FLAG_MOD_REPLACE, name)
            print(f"{name} {value}")  # noqa: T201  the task tells from it what changed
    if len(message):
        db.modify(message)


def dns(wish: dict, *words: str) -> None:
    """Run samba-tool's dns verb as the administrator; the password stays inside this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        login = f"-UAdministrator%{wish['password']}"
        failed = samba_tool("dns", words[0], f"{wish['name']}.{wish['domain']}", *words[1:], login)
    if failed:
        sys.exit(f"samba-tool dns {' '.join(words)} failed: {said.getvalue()}")
    print("dns", *words)  # noqa: T201  the task tells from it what changed


def zone_dn(db: SamDB, zone: str) -> ldb.Dn | None:
    """Return where a zone is in the directory, None if nowhere."""
    base = f"CN=MicrosoftDNS,DC=DomainDnsZones,{db.get_default_basedn()}"
    found = db.search(base, ldb.SCOPE_ONELEVEL, expression=f"(&(objectClass=dnsZone)(dc={zone}))", attrs=["dc"])
    return found[0].dn if len(found) else None


def has_record(db: SamDB, record: dict) -> bool:
    """Tell whether a name of a zone has the record."""
    found = db.search(zone_dn(db, record["zone"]), ldb.SCOPE_ONELEVEL, expression=f"(dc={record['name']})")
    values = found[0].get("dnsRecord", []) if len(found) else []
    return any(
        one.wType == DATA_FIELDS[record["type"]] and str(one.data).rstrip(".") == record["value"]
        for one in (ndr_unpack(dnsp.DnssrvRpcRecord, value) for value in values)
    )


def register_services(db: SamDB, wish: dict) -> None:
    """Give the controller its Kerberos names: Samba does so as it starts, but gives up on a slow machine."""
    found = db.search(db.get_default_basedn(), expression=f"(sAMAccountName={wish['name']}$)")[0]
    if f"ldap/{wish['name']}.{wish['domain']}" not in [str(name) for name in found["servicePrincipalName"]]:
        subprocess.run(["/usr/sbin/samba_spnupdate"], check=True, stdout=subprocess.DEVNULL)
        print("names of the services")  # noqa: T201  the task tells from it what changed


def main() -> None:
    """Bring policy, zones and records to what is wished."""
    wish = json.load(sys.stdin)
    parameters = LoadParm()
    parameters.load_default()
    db = SamDB(session_info=system_session(parameters), lp=parameters)
    apply_policy(db, wish["policy"])
    register_services(db, wish)
    for zone in wish["zones"]:
        if zone_dn(db, zone) is None:
            dns(wish, "zonecreate", zone)
    for record in wish["records"]:
        if not has_record(db, record):
            dns(wish, "add", record["zone"], record["name"], record["type"], record["value"])


main()
