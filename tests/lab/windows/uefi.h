/* What the applications of these tests share: the tables of the firmware, its keyboard, and the first serial port.
 * Structures and numbers: UEFI Specification 2.10, 4 to 12. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define EFI __attribute__((ms_abi))

typedef struct { u32 a; u16 b, c; u8 d[8]; } Guid;
typedef struct Keyboard Keyboard;
struct Keyboard { void *reset; u64 (EFI *read)(Keyboard *, u16 *); };

static u64 *boot, *runtime;
static Keyboard *keyboard;

static void out(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static u8 in(u16 port) { u8 value; __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port)); return value; }

static void say(const char *words) {
  for (; *words; words++) {
    while (!(in(0x3FD) & 0x20)) {}
    out(0x3F8, (u8)*words);
  }
}

static void stall(u64 microseconds) { ((u64 (EFI *)(u64))boot[28])(microseconds); }
static void restart(u32 kind) { ((void (EFI *)(u32, u64, u64, void *))runtime[10])(kind, 0, 0, 0); }

static const Guid TPM = {0x607f766c, 0x7455, 0x42be, {0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f}};

static void *find_tpm(void) {
  void *found = 0;
  ((u64 (EFI *)(const Guid *, void *, void **))boot[37])(&TPM, 0, &found);
  return found;
}

static void begin(u64 *table) {
  boot = (u64 *)table[12] + 3, runtime = (u64 *)table[11] + 3;
  keyboard = (Keyboard *)table[6];
  ((u64 (EFI *)(u64, u64, u64, void *))boot[29])(0, 0, 0, 0); /* no watchdog */
}
