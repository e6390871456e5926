/* A stand-in for an installed system that can be frozen and cloned: it counts its starts in a variable of the firmware,
 * the TPM counts its own, and each Enter on the serial console is answered with both and with how many came before it,
 * which stands in memory alone. "r" restarts. TPM: TCG Library Specification 2.0, part 3 (TPM2_ReadClock); its protocol:
 * TCG EFI Protocol Specification. */

#include "uefi.h"

typedef struct Chip Chip;
struct Chip {
  void *capability, *log, *extend;
  u64 (EFI *submit)(Chip *, u32, const u8 *, u32, u8 *);
};

static const Guid OURS = {0x6c616263, 0x746c, 0x4d01, {0x9a, 0x11, 0x73, 0x74, 0x61, 0x72, 0x74, 0x73}};
static u16 variable[] = {'S', 't', 'a', 'r', 't', 's', 0};
static u8 starts; /* a test makes a handful */
static u32 asked;

static void tell(u32 number) {
  char digits[11];
  u32 at = 10;
  digits[at] = 0;
  do digits[--at] = '0' + number % 10; while (number /= 10);
  say(digits + at);
}

/* Read, add one, and write again: non-volatile, for boot services. */
static void count_start(void) {
  u64 size = 1;
  ((u64 (EFI *)(u16 *, const Guid *, u32 *, u64 *, void *))runtime[6])(variable, &OURS, 0, &size, &starts);
  starts++;
  ((u64 (EFI *)(u16 *, const Guid *, u32, u64, void *))runtime[8])(variable, &OURS, 3, 1, &starts);
}

/* How often the TPM was reset since it was made. */
static u32 read_resets(void) {
  static const u8 command[10] = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x81};
  static u8 answer[64];
  Chip *chip = find_tpm();
  if (!chip || chip->submit(chip, sizeof command, command, sizeof answer, answer)) return 0;
  return (u32)answer[26] << 24 | answer[27] << 16 | answer[28] << 8 | answer[29];
}

static void answer_enter(void) {
  say("asked "); tell(asked);
  say(" starts "); tell(starts);
  say(" resets "); tell(read_resets());
  say("\r\n");
}

EFI u64 efi_main(void *handle, u64 *table) {
  u16 key[2];
  (void)handle;
  begin(table);
  count_start();
  say("\r\n");
  answer_enter();
  for (;;) {
    if (keyboard->read(keyboard, key)) { stall(10000); continue; }
    if (key[1] == 'r') restart(0);
    if (key[1] != '\r') continue;
    asked++;
    answer_enter();
  }
}
