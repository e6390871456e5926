"""What labctl itself puts into a Debian root file system: paths to text, links, and the script that ends the build."""

from collections.abc import Mapping

from labctl.plan.names import MANAGEMENT_PORT

IDENTITY_CREDENTIAL = "labctl.identity"

# The kernel's own fw_cfg files are the second way in for systemd versions that do not import credentials from there.
IDENTITY_SCRIPT = f"""#!/bin/sh
# Writes who this machine is (name, addresses, keys): a tmpfiles.d text that labctl passes as a systemd credential.
# Its lines create what is missing and overwrite nothing, so that changes made in the machine outlive a reboot.
set -eu
identity=/run/credentials/@system/{IDENTITY_CREDENTIAL}
if [ ! -e "$identity" ]; then
    modprobe -q qemu_fw_cfg || true
    identity=/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/{IDENTITY_CREDENTIAL}/raw
fi
[ -e "$identity" ] || exit 0
systemd-tmpfiles --create - <"$identity"
if [ -s /etc/hostname ]; then
    read -r name </etc/hostname
    echo "$name" >/proc/sys/kernel/hostname
fi
"""

IDENTITY_UNIT = """[Unit]
Description=Who this machine is, as told by labctl
DefaultDependencies=no
ConditionVirtualization=!container
Wants=systemd-remount-fs.service
After=systemd-remount-fs.service systemd-journald.socket
# Before udev sees the network cards, so that .link files name them at the very first boot.
Before=systemd-udev-trigger.service systemd-networkd.service systemd-tmpfiles-setup.service
Before=sysinit.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/labctl/identity

[Install]
WantedBy=sysinit.target
"""

# The disk of a lab is an overlay that may be larger than the image. The partition is the last one and grows in place.
GROW_SCRIPT = """#!/bin/sh
# Grows the root partition and its file system to the size of the disk; does nothing the second time.
set -eu
part=$(findmnt -n -o SOURCE /)
name=${part##*/}
disk=$(readlink -f "/sys/class/block/$name/..")
disk=${disk##*/}
end=$(($(cat "/sys/class/block/$name/start") + $(cat "/sys/class/block/$name/size")))
[ $(($(cat "/sys/class/block/$disk/size") - end)) -gt 4096 ] || exit 0
echo ',+' | sfdisk --quiet --no-reread --no-tell-kernel -N "$(cat "/sys/class/block/$name/partition")" "/dev/$disk"
partx --update "/dev/$disk"
resize2fs "$part"
"""

GROW_UNIT = """[Unit]
Description=Grow the root file system to the size of the disk
After=labctl-ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/labctl/grow

[Install]
WantedBy=multi-user.target
"""

# Debian's own units for this start a dozen programs before local file systems; this loads what setupcon has prepared.
KEYBOARD_UNIT = """[Unit]
Description=Console keyboard layout
Documentation=man:setupcon(1)
ConditionPathExists=/etc/console-setup/cached_UTF-8_del.kmap.gz
After=labctl-ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/loadkeys -q /etc/console-setup/cached_UTF-8_del.kmap.gz

[Install]
WantedBy=multi-user.target
"""

# labctl waits for the guest agent's connection and takes it for "SSH answers".
AGENT_AFTER_SSH = """[Unit]
Wants=labctl-ssh.service
After=labctl-ssh.service
"""

# labctl's own way in, beside the sshd that students configure and may break. Without PAM a login costs a third less,
# and its port is on the management link alone: a scan of a lab's networks does not find it.
MANAGEMENT_SSHD = """# Accès de labctl par le lien de gestion : ne pas modifier.
# Le service SSH du TP est « ssh » (/etc/ssh).
HostKey /etc/labctl/ssh_host_ed25519_key
AuthorizedKeysFile /etc/labctl/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
PrintLastLog no
LogLevel ERROR
AcceptEnv LANG LC_*
SetEnv LANG=fr_FR.UTF-8
Subsystem sftp internal-sftp
"""

# sd_listen_fds(3): systemd binds the socket to the link, which sshd itself cannot. By default it would be opened
# before the basic system, and all would wait for the network card.
MANAGEMENT_SOCKET = f"""[Unit]
Description=labctl's own SSH port on the management link
DefaultDependencies=no
After=sysinit.target
Conflicts=shutdown.target
Before=shutdown.target

[Socket]
ListenStream=[::]:{MANAGEMENT_PORT}
BindToDevice=mgmt
Accept=no

[Install]
WantedBy=multi-user.target
"""

# Its sessions outlive it, as those of Debian's ssh.service do.
MANAGEMENT_SERVICE = """[Unit]
Description=labctl's own SSH server on the management link
Requires=labctl-ssh.socket
After=labctl-ssh.socket

[Service]
Type=notify
ExecStart=/usr/sbin/sshd -D -f /usr/lib/labctl/sshd_config
KillMode=process
Restart=on-failure
RuntimeDirectory=sshd
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes

[Install]
WantedBy=multi-user.target
"""

# With one processor, what starts at the same time as sshd delays it; these can wait until it answers.
LATER = "[Unit]\nAfter=labctl-ssh.service\n"

# sshd reads its configuration once more by itself: the test before it only costs another start of the program. The
# folder is where both servers confine themselves: it must not go with the one that students stop.
SSH = LATER + "\n[Service]\nExecStartPre=\nRuntimeDirectoryPreserve=yes\n"

# systemd gives a device and a service 90 s to appear. Where a class boots on two processors that is too short, and what
# was given up stays away until the next boot: the management link too. See systemd-system.conf(5).
PATIENCE = "[Manager]\nDefaultDeviceTimeoutSec=15min\nDefaultTimeoutStartSec=10min\n"

# A rescue by the boot menu stays possible: hold Shift while the machine starts.
GRUB_CONFIG = """set timeout=0
if keystatus --shift; then set timeout=-1; fi
menuentry "Debian GNU/Linux" {{
    linux /vmlinuz root=UUID={uuid} rw console=tty0 console=ttyS0 {options}
    initrd /initrd.img
}}
menuentry "Debian GNU/Linux (rescue)" {{
    linux /vmlinuz root=UUID={uuid} rw console=tty0 systemd.unit=rescue.target
    initrd /initrd.img
}}
"""
# systemd asks a silent serial port for its size and waits for the answer, unless it is told.
# A busy host may not give an emulated timer its ticks in time, and the kernel's own test of it then ends in a panic.
KERNEL_OPTIONS = "quiet no_timer_check " + " ".join(
    f"systemd.tty.{key}.{terminal}={value}"
    for terminal in ("console", "ttyS0")
    for key, value in (("rows", 24), ("columns", 80))
)

# Documentation in languages that nobody here reads is half of the files of a system; manual pages stay. They stand in
# the system itself: given to mmdebstrap, they would be applied to the first packages by a slow filter of its own.
DPKG_OPTIONS = """path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-include=/usr/share/locale/fr/*
path-exclude=/usr/share/man/??/*
path-exclude=/usr/share/man/??_*/*
path-include=/usr/share/man/fr/*
"""
SERIAL_LOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --keep-baud 115200,9600 - $TERM\n"
SCREEN_LOGIN = "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear - $TERM\n"

FILES: Mapping[str, str] = {
    "usr/lib/labctl/identity": IDENTITY_SCRIPT,
    "usr/lib/labctl/grow": GROW_SCRIPT,
    "etc/systemd/system.conf.d/labctl.conf": PATIENCE,
    "etc/systemd/system/labctl-identity.service": IDENTITY_UNIT,
    "etc/systemd/system/labctl-grow.service": GROW_UNIT,
    "etc/systemd/system/labctl-keyboard.service": KEYBOARD_UNIT,
    "etc/systemd/system/qemu-guest-agent.service.d/labctl.conf": AGENT_AFTER_SSH,
    "etc/systemd/system/ssh.service.d/labctl.conf": SSH,
    "usr/lib/labctl/sshd_config": MANAGEMENT_SSHD,
    "etc/systemd/system/labctl-ssh.socket": MANAGEMENT_SOCKET,
    "etc/systemd/system/labctl-ssh.service": MANAGEMENT_SERVICE,
    "etc/systemd/system/systemd-logind.service.d/labctl.conf": LATER,
    "etc/systemd/system/cron.service.d/labctl.conf": LATER,
    # No account has a password: who holds a machine's console holds the machine, as with a real one.
    "etc/systemd/system/serial-getty@ttyS0.service.d/labctl.conf": SERIAL_LOGIN,
    "etc/systemd/system/getty@tty1.service.d/labctl.conf": SCREEN_LOGIN,
    "etc/ssh/sshd_config.d/labctl.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n"
    ),
    # The servers' own addresses are in /etc/resolv.conf and port 53 is free for a DNS server of the lab.
    "etc/systemd/resolved.conf.d/labctl.conf": "[Resolve]\nDNSStubListener=no\nLLMNR=no\nMulticastDNS=no\n",
    "etc/systemd/journald.conf.d/labctl.conf": "[Journal]\nSystemMaxUse=64M\n",
    # tiny-initramfs loads these modules and mounts the root file system: no shell, no second udev.
    "etc/tiny-initramfs/tiny-initramfs.conf": "MICROCODE=no\nAUTO_MODULES=no\nINCLUDE_MODULES=virtio_blk,ext4\n",
    "etc/kernel-img.conf": "do_symlinks = yes\n",
    "etc/locale.gen": "fr_FR.UTF-8 UTF-8\n",
    "etc/default/locale": "LANG=fr_FR.UTF-8\n",
    "etc/default/keyboard": (
        'XKBMODEL="pc105"\nXKBLAYOUT="fr"\nXKBVARIANT="latin9"\nXKBOPTIONS=""\nBACKSPACE="guess"\n'
    ),
    "etc/default/console-setup": (
        'ACTIVE_CONSOLES="/dev/tty[1-6]"\nCHARMAP="UTF-8"\nCODESET="Lat15"\nFONTFACE="Fixed"\nFONTSIZE="8x16"\n'
    ),
    "etc/timezone": "Europe/Paris\n",
    "etc/dpkg/dpkg.cfg.d/60labctl": DPKG_OPTIONS,
    "etc/apt/apt.conf.d/60labctl": 'Acquire::Languages "none";\nAPT::Periodic::Enable "0";\n',
}

EXECUTABLE = frozenset({"usr/lib/labctl/identity", "usr/lib/labctl/grow"})

# Work that a lab's machine does not need and that a slow processor notices.
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "console-setup.service", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "keyboard-setup.service", "man-db.timer", "modprobe@drm.service",
    "modprobe@efi_pstore.service", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "systemd-binfmt.service", "systemd-network-generator.service",
    "systemd-networkd-persistent-storage.service", "systemd-networkd-wait-online.service", "systemd-pstore.service",
    # Clones share the uptime at which it begins: all of a class would clean their folders at the same moment.
    "systemd-tmpfiles-clean.timer",
    "systemd-udev-load-credentials.service",
)  # fmt: skip

LINKS: Mapping[str, str] = {
    "etc/localtime": "/usr/share/zoneinfo/Europe/Paris",
    "etc/systemd/system/sysinit.target.wants/labctl-identity.service": "/etc/systemd/system/labctl-identity.service",
    "etc/systemd/system/multi-user.target.wants/labctl-grow.service": "/etc/systemd/system/labctl-grow.service",
    "etc/systemd/system/multi-user.target.wants/labctl-ssh.socket": "/etc/systemd/system/labctl-ssh.socket",
    "etc/systemd/system/multi-user.target.wants/labctl-ssh.service": "/etc/systemd/system/labctl-ssh.service",
    "etc/systemd/system/multi-user.target.wants/labctl-keyboard.service": "/etc/systemd/system/labctl-keyboard.service",
    # It loads the vsock modules to offer SSH on a socket that labs do not have.
    "etc/systemd/system-generators/systemd-ssh-generator": "/dev/null",
    **{f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED},
}

# Answers to questions that packages would ask.
DEBCONF = "man-db man-db/auto-update boolean false\n"

# Runs on the host with the root file system as $1, after the packages are in.
FINISH = """set -eu
# The same for the packages that were there before dpkg was.
find "$1"/usr/share/doc -type f ! -name copyright -delete
find "$1"/usr/share/locale -mindepth 1 -maxdepth 1 ! -name fr ! -name locale.alias -exec rm -r {} +
find "$1"/usr/share/man -mindepth 1 -maxdepth 1 ! -name fr ! -name 'man*' -exec rm -r {} +
rm -rf "$1"/usr/share/info/*
# Debian starts the resolver before everything else that is not early boot; here it waits until sshd answers.
sed -e 's/^Before=.*/Before=nss-lookup.target shutdown.target/' -e 's/^WantedBy=sysinit/WantedBy=multi-user/' \\
    -e '/^\\[Unit\\]/a After=labctl-ssh.service' "$1"/usr/lib/systemd/system/systemd-resolved.service \\
    >"$1"/etc/systemd/system/systemd-resolved.service
rm -f "$1"/etc/systemd/system/*.wants/systemd-resolved.service \\
    "$1"/etc/systemd/system/dbus-org.freedesktop.resolve1.service
chroot "$1" systemctl --quiet enable systemd-networkd.service systemd-resolved.service ssh.service
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/hosts "$1"/etc/resolv.conf
ln -s ../run/systemd/resolve/resolv.conf "$1"/etc/resolv.conf
mkdir -p "$1"/boot/grub
chroot "$1" setupcon --save-only
: >"$1"/etc/machine-id
rm -f "$1"/etc/apt/sources.list "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/var/lib/systemd/random-seed
# Tells systemd that nothing in /usr is newer than what these folders were made from: no rebuilt caches at first boot.
touch "$1"/etc/.updated "$1"/var/.updated
"""
