"""Builds, signs and puts on discs the UEFI applications that stand in for Windows; it takes gcc and ld."""

import hashlib
import io
import struct
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pycdlib import PyCdlib

SETUP, COUNTER = (Path(__file__).with_name(name) for name in ("setup.c", "counter.c"))
KEPT = "*(.text.efi_main) *(.text*) *(.rodata*) *(.data*) *(.bss*) *(COMMON)"
LAYOUT = f"SECTIONS {{ . = 0x1000; .all : {{ {KEPT} }} /DISCARD/ : {{ *(*) }} }}"
HEADERS, ALIGNED = 0x200, 0x1000
SNAKEOIL = Path("/usr/share/ovmf/PkKek-1-snakeoil")  # Debian's key for tests, in OVMF_VARS_4M.snakeoil.fd


def build_application(folder: Path, source: Path = SETUP) -> bytes:
    """Return an application as a PE file."""
    code = folder / "application.o"
    flags = [
        "-Os", "-ffreestanding", "-fpie", "-fno-stack-protector", "-mno-red-zone", "-fno-asynchronous-unwind-tables",
        "-ffunction-sections", "-mno-sse", "-fcf-protection=none", "-fno-builtin", "-Wall", "-Wextra", "-Werror",
    ]  # fmt: skip
    subprocess.run(["gcc", *flags, "-c", source, "-o", code], check=True)
    layout, flat = folder / "layout", folder / "application.bin"
    layout.write_text(LAYOUT)
    subprocess.run(["ld", "-nostdlib", "-T", layout, "--oformat", "binary", "-o", flat, code], check=True)
    return portable_executable(flat.read_bytes())


def portable_executable(code: bytes) -> bytes:
    """Return code that is linked for 0x1000 and starts there, as an EFI application (Microsoft's PE format)."""
    code += bytes(-len(code) % HEADERS)
    size = ALIGNED + len(code) + -len(code) % ALIGNED
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x0022)
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, len(code), 0, 0, ALIGNED, ALIGNED)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0, ALIGNED, HEADERS, 0, 0, 0, 0, 0, 0, 0, size, HEADERS, 0, 10, 0)
    optional += struct.pack("<QQQQII", 0, 0, 0, 0, 0, 16) + bytes(128)
    section = struct.pack("<8sIIIIIIHHI", b".text", len(code), ALIGNED, len(code), HEADERS, 0, 0, 0, 0, 0xE0000020)
    head = dos + coff + optional + section
    return head + bytes(HEADERS - len(head)) + code


def der(tag: int, *parts: bytes) -> bytes:
    """Return a DER element."""
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def oid(dotted: str) -> bytes:
    """Return an object identifier."""
    first, second, *rest = map(int, dotted.split("."))
    body = bytes([40 * first + second])
    for number in rest:
        groups = [number & 127]
        while number := number >> 7:
            groups.append(number & 127 | 128)
        body += bytes(reversed(groups))
    return der(6, body)


SHA256 = der(0x30, oid("2.16.840.1.101.3.4.2.1"), der(5))
RSA = der(0x30, oid("1.2.840.113549.1.1.1"), der(5))


def sign_application(pe: bytes) -> bytes:
    """Return a PE file with an Authenticode signature by Debian's test key, which its test firmware trusts."""
    key = serialization.load_pem_private_key(SNAKEOIL.with_suffix(".key").read_bytes(), b"snakeoil")
    assert isinstance(key, rsa.RSAPrivateKey)
    certificate = x509.load_pem_x509_certificate(SNAKEOIL.with_suffix(".pem").read_bytes())
    checksum, directory = 64 + 24 + 64, 64 + 24 + 112 + 4 * 8
    hashed = pe[:checksum] + pe[checksum + 4 : directory] + pe[directory + 8 :]
    link = der(0xA0, der(0xA2, der(0x80, "<<<Obsolete>>>".encode("utf-16-be"))))
    data = der(0x30, oid("1.3.6.1.4.1.311.2.1.15"), der(0x30, der(3, b"\0"), link))
    content = data + der(0x30, SHA256, der(4, hashlib.sha256(hashed).digest()))
    attributes = der(0x30, oid("1.2.840.113549.1.9.3"), der(0x31, oid("1.3.6.1.4.1.311.2.1.4"))) + der(
        0x30, oid("1.2.840.113549.1.9.4"), der(0x31, der(4, hashlib.sha256(content).digest()))
    )
    signature = key.sign(der(0x31, attributes), padding.PKCS1v15(), hashes.SHA256())
    issuer = certificate.issuer.public_bytes()
    serial = certificate.serial_number
    number = der(2, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    signer = der(0x30, der(2, b"\1"), der(0x30, issuer, number), SHA256, der(0xA0, attributes), RSA, der(4, signature))
    signed = der(
        0x30, der(2, b"\1"), der(0x31, SHA256),
        der(0x30, oid("1.3.6.1.4.1.311.2.1.4"), der(0xA0, der(0x30, content))),
        der(0xA0, certificate.public_bytes(serialization.Encoding.DER)), der(0x31, signer),
    )  # fmt: skip
    whole = der(0x30, oid("1.2.840.113549.1.7.2"), der(0xA0, signed))
    whole += bytes(-len(whole) % 8)
    table = struct.pack("<IHH", len(whole) + 8, 0x0200, 0x0002) + whole
    place = struct.pack("<II", len(pe), len(table))
    return pe[:directory] + place + pe[directory + 8 :] + table


def make_fat(application: bytes) -> bytes:
    """Return a FAT12 file system of 2.88 MB with the application at /EFI/BOOT/BOOTX64.EFI (Microsoft's FAT format)."""
    sectors, cluster, fat_sectors, roots = 5760, 4, 5, 224
    start = 1 + 2 * fat_sectors + roots * 32 // 512
    boot = struct.pack("<3s8sHBHBHHBHHHII", b"\xeb\x3c\x90", b"LABCTL  ", 512, cluster, 1, 2, roots, sectors, 0xF0,
                       fat_sectors, 36, 2, 0, 0)  # fmt: skip
    boot += struct.pack("<BBBI11s8s", 0, 0, 0x29, 1, b"LABCTL     ", b"FAT12   ")
    size = cluster * 512
    chain = range(4, 4 + -(-len(application) // size))
    entries = {0: 0xFF0, 1: 0xFFF, 2: 0xFFF, 3: 0xFFF, **{n: n + 1 for n in chain}, chain[-1]: 0xFFF}
    fat = bytearray(fat_sectors * 512)
    for number, value in entries.items():
        at, shift = number * 3 // 2, 4 * (number % 2)
        pair = int.from_bytes(fat[at : at + 2], "little") | value << shift
        fat[at : at + 2] = pair.to_bytes(2, "little")

    def entry(name: bytes, kind: int, first: int, length: int = 0) -> bytes:
        return struct.pack("<11sB14xHI", name, kind, first, length)

    def folder(own: int, above: int, *inside: bytes) -> bytes:
        dots = entry(b".          ", 0x10, own) + entry(b"..         ", 0x10, above)
        return (dots + b"".join(inside)).ljust(size, b"\0")

    root = entry(b"EFI        ", 0x10, 2).ljust(roots * 32, b"\0")
    tree = folder(2, 0, entry(b"BOOT       ", 0x10, 3)) + folder(3, 2, entry(b"BOOTX64 EFI", 0x20, 4, len(application)))
    disk = boot.ljust(510, b"\0") + b"\x55\xaa" + bytes(fat) * 2 + root + tree + application
    assert len(disk) <= sectors * 512
    assert start * 512 == 512 + len(fat) * 2 + len(root)
    return disk.ljust(sectors * 512, b"\0")


def make_bootable(path: Path, files: dict[str, bytes], folder: Path, *, signed: bool = False) -> Path:
    """Write a disc with these files that boots the application by UEFI, shaped as Windows' own: UDF beside ISO 9660."""
    application = build_application(folder)
    fat = make_fat(sign_application(application) if signed else application)
    iso = PyCdlib()
    iso.new(interchange_level=3, udf="2.60", vol_ident="STANDIN")
    iso.add_fp(io.BytesIO(fat), len(fat), "/EFISYS.BIN;1")
    iso.add_eltorito("/EFISYS.BIN;1", "/BOOT.CAT;1", boot_load_size=len(fat) // 512, platform_id=0xEF)
    for name in sorted({str(parent) for file in files for parent in Path(file).parents if str(parent) != "."}):
        iso.add_directory(udf_path=f"/{name}")
    for file, content in files.items():
        iso.add_fp(io.BytesIO(content), len(content), udf_path=f"/{file}")
    iso.write(str(path))
    iso.close()
    return path
