/* A stand-in for Windows Setup: an UEFI application that searches the drives as Setup does and tells what it found by the
 * first serial port. From the disc it copies itself to the disk and restarts; from the disk it goes through the phases
 * of an installation and switches the machine off. Structures and numbers: UEFI Specification 2.10, 4 to 13; the
 * discs: ECMA-119 with Joliet. Lines that start with "seen" are for the tests. */

#include "uefi.h"

typedef struct { u32 id; u8 removable, present, partition, read_only, caching; u32 block, align; u64 last; } Media;
typedef struct Disk Disk;
struct Disk {
  u64 revision;
  Media *media;
  void *reset;
  u64 (EFI *read)(Disk *, u32, u64, u64, void *);
  u64 (EFI *write)(Disk *, u32, u64, u64, void *);
  u64 (EFI *flush)(Disk *);
};
typedef struct { u32 revision; void *parent, *table, *device; } Loaded;

static void *image;
static u8 page[2048] __attribute__((aligned(4096))), text[65536] __attribute__((aligned(4096)));
static u8 block[65536] __attribute__((aligned(4096))), name[256];

static void *protocol(void *handle, const Guid *guid) {
  void *found = 0;
  return ((u64 (EFI *)(void *, const Guid *, void **))boot[16])(handle, guid, &found) ? 0 : found;
}

static const Guid BLOCK = {0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const Guid LOADED = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const Guid GLOBAL = {0x8be4df61, 0x93ca, 0x11d2, {0xaa, 0x0d, 0, 0xe0, 0x98, 0x03, 0x2b, 0x8c}};

static u32 little(const u8 *p) { return p[0] | p[1] << 8 | p[2] << 16 | (u32)p[3] << 24; }
static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

/* Compare the name of a directory record, UCS-2 in capital or small letters, with the part of a path up to '/'. */
static int is_named(const u8 *record, const char *part) {
  u32 length = record[32] / 2, i;
  for (i = 0; i < length && part[i] && part[i] != '/' && part[i] != '\\'; i++)
    if (record[33 + 2 * i] || lower(record[34 + 2 * i]) != lower(part[i])) return 0;
  return i == length && (!part[i] || part[i] == '/' || part[i] == '\\');
}

static int read_at(Disk *disk, u64 lba, void *to) { return !disk->read(disk, disk->media->id, lba, 2048, to); }

/* Find a path in the Joliet tree of a disc; return its first block and size, 0 where it is absent. */
static u32 find(Disk *disk, const char *path, u32 *size) {
  u32 lba = 0, length = 0;
  for (u32 at = 16; at < 32 && !lba; at++) {
    if (!read_at(disk, at, page) || page[1] != 'C' || page[0] == 255) return 0;
    if (page[0] == 2 && page[88] == '%') lba = little(page + 158), length = little(page + 166);
  }
  while (lba && *path) {
    u32 found = 0;
    for (u32 done = 0; done < length && !found; done += 2048) {
      if (!read_at(disk, lba + done / 2048, page)) return 0;
      for (u32 at = 0; at < 2048 && page[at]; at += page[at])
        if (is_named(page + at, path)) found = little(page + at + 2), *size = little(page + at + 10);
    }
    lba = found, length = *size;
    while (*path && *path != '/' && *path != '\\') path++;
    if (*path) path++;
  }
  return lba;
}

static const char *after(const char *where, const char *word) {
  for (; *where; where++) {
    u32 i = 0;
    while (word[i] && where[i] == word[i]) i++;
    if (!word[i]) return where + i;
  }
  return 0;
}

static u32 copy_until(const char *from, char end, char *to, u32 room) {
  u32 i = 0;
  for (; from[i] && from[i] != end && i + 1 < room; i++) to[i] = from[i];
  to[i] = 0;
  return i;
}

static int load(Disk *disk, const char *path) {
  u32 size = 0, lba = find(disk, path, &size);
  if (!lba || size >= sizeof text) return 0;
  for (u32 done = 0; done < size; done += 2048)
    if (!read_at(disk, lba + done / 2048, text + done)) return 0;
  text[size] = 0;
  return 1;
}

static Disk *discs[8], *hard;
static u32 count;

static void **list(u32 kind, const Guid *guid, u64 *number) {
  void **handles = 0;
  *number = 0;
  ((u64 (EFI *)(u32, const Guid *, void *, u64 *, void ***))boot[36])(kind, guid, 0, number, &handles);
  return handles;
}

static void search(void) {
  u64 number;
  void **handles = list(0, 0, &number);
  for (u64 i = 0; i < number; i++) /* the firmware has only connected what it may boot from */
    ((u64 (EFI *)(void *, void *, void *, u8))boot[30])(handles[i], 0, 0, 1);
  handles = list(2, &BLOCK, &number);
  for (u64 i = 0; i < number; i++) {
    Disk *disk = protocol(handles[i], &BLOCK);
    if (!disk || disk->media->partition || !disk->media->present) continue;
    if (disk->media->block == 2048 && count < 8) discs[count++] = disk;
    if (disk->media->block == 512 && !disk->media->read_only) hard = disk;
  }
}

static void tell_machine(void) {
  static u16 variable[] = {'S', 'e', 'c', 'u', 'r', 'e', 'B', 'o', 'o', 't', 0};
  u8 on = 0;
  u64 size = 1;
  ((u64 (EFI *)(u16 *, const Guid *, u32 *, u64 *, void *))runtime[6])(variable, &GLOBAL, 0, &size, &on);
  say(on ? "seen secure boot on\r\n" : "seen secure boot off\r\n");
  say(find_tpm() ? "seen tpm\r\n" : "seen no tpm\r\n");
  say(hard ? "seen disk\r\n" : "seen no disk\r\n");
}

static void wait_key(void) {
  u16 key[2];
  say("Press any key to boot from CD or DVD......");
  for (u32 tenths = 0; tenths < 600; tenths++) {
    if (!keyboard->read(keyboard, key)) return;
    stall(100000);
  }
  say("\r\nseen no key\r\n");
  restart(2);
}

/* Copy the file system that this application was started from to the start of the disk, as an installation would. */
static void install(void) {
  Loaded *loaded = protocol(image, &LOADED);
  Disk *from = protocol(loaded->device, &BLOCK);
  u64 size = (from->media->last + 1) * from->media->block;
  for (u64 done = 0; done < size; done += sizeof block) {
    u64 part = size - done < sizeof block ? size - done : sizeof block;
    from->read(from, from->media->id, done / from->media->block, part, block);
    hard->write(hard, hard->media->id, done / 512, part, block);
  }
  for (u32 i = 0; i < 512; i++) block[i] = 0;
  copy_until((char *)name, 0, (char *)block + 1, 200);
  hard->write(hard, hard->media->id, hard->media->last, 512, block);
  hard->flush(hard);
}

static void setup(void) {
  const char *at;
  Disk *answers = 0;
  for (u32 i = 0; i < count && !answers; i++)
    if (load(discs[i], "Autounattend.xml")) answers = discs[i];
  if (!answers) { say("seen no answer file\r\n"); restart(2); }
  say("seen answer file\r\n");
  if ((at = after((char *)text, "<Key>/IMAGE/NAME</Key>")) && (at = after(at, "<Value>"))) {
    copy_until(at, '<', (char *)name, sizeof name);
    say("seen image "); say((char *)name); say("\r\n");
  }
  /* Every driver path of the answer file, on whatever disc has it: a letter stands for a disc. */
  at = (char *)text;
  while ((at = after(at, "<PathAndCredentials"))) {
    static char path[128];
    const char *start = after(at, "<Path>");
    u32 ignored;
    copy_until(start, '<', path, sizeof path);
    if (path[0] != 'D') continue;
    for (u32 i = 0; i < count; i++)
      if (find(discs[i], path + 3, &ignored)) { say("seen driver "); say(path + 3); say("\r\n"); }
  }
  /* The marker is the one that the script on the disc would send. */
  if (load(answers, "labctl/setup.cmd") && (at = after((char *)text, "echo @labctl"))) {
    static char marker[128];
    copy_until(at, '>', marker, sizeof marker);
    say("@labctl"); say(marker); say("\r\n");
  }
  if (after((char *)name, "HANGS")) for (;;) stall(1000000);
  install();
  restart(0);
}

static void go_on(void) {
  hard->read(hard, hard->media->id, hard->media->last, 512, block);
  if (after((char *)block + 1, "FAILS")) {
    say("@labctl-log C:\\Windows\\Panther\\setuperr.log\r\nError 0x80070002\r\n@labctl-end\r\n");
    say("@labctl {\"failed\":\"specialize: no disc holds viostor\"}\r\n");
    for (;;) stall(1000000);
  }
  if (!block[0]) {
    block[0] = 1;
    hard->write(hard, hard->media->id, hard->media->last, 512, block);
    hard->flush(hard);
    say("@labctl {\"phase\":\"specialize\"}\r\n");
    restart(0);
  }
  say("@labctl {\"phase\":\"configure\"}\r\n@labctl {\"facts\":{\"edition\":\"ServerStandardEval\",\"build\":20348,");
  say("\"evaluation_days\":180,\"rearms\":5}}\r\n@labctl {\"phase\":\"generalize\"}\r\n");
  say("@labctl {\"phase\":\"sealed\"}\r\n");
  restart(2);
}

EFI u64 efi_main(void *handle, u64 *table) {
  Loaded *loaded;
  image = handle;
  begin(table);
  search();
  loaded = protocol(image, &LOADED);
  if (hard && protocol(loaded->device, &BLOCK) == hard) go_on();
  wait_key();
  say("\r\n");
  tell_machine();
  setup();
  return 0;
}
