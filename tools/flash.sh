#!/usr/bin/env bash
# Writes a whole flash image to a board by cable and verifies it.
#
# IMAGE is one of
#   a merged image      as MicroPython offers for download: begins with the bootloader
#   a whole-flash image begins at address 0, as a production line keeps it
# Both hold bootloader, partition table and application. What lies where IMAGE writes is lost: NVS and
# otadata always, the file system with a whole-flash image. The board runs nothing before IMAGE is
# verified.
set -eu

usage="usage: tools/flash.sh [--dry-run] [--chip esp32|esp32s2|esp32s3|esp32c3|esp32c6] PORT IMAGE"
esptool="$(dirname "$0")/../.venv/bin/esptool"
chip=esp32
run=

fail() {
    echo "flash: $1" >&2
    exit "${2:-1}"
}

# Bytes of IMAGE as hexadecimal digits: bytes OFFSET COUNT
bytes() {
    od -An -tx1 -j"$1" -N"$2" "$image" | tr -d ' \n'
}

while [ $# -gt 0 ]; do
    case "$1" in
        --dry-run) run=echo ;;
        --chip) chip="${2:-}"; shift ;;
        -h | --help) echo "$usage"; exit 0 ;;
        -*) fail "$usage" 2 ;;
        *) break ;;
    esac
    shift
done
[ $# -eq 2 ] || fail "$usage" 2
port="$1"
image="$2"
[ -f "$image" ] || fail "$image: no such file" 2
[ -x "$esptool" ] || fail "$esptool is missing; run 'make setup'"

# Where the ROM looks for the bootloader.
case "$chip" in
    esp32 | esp32s2) bootloader=$((0x1000)) ;;
    esp32s3 | esp32c3 | esp32c6) bootloader=0 ;;
    *) fail "$chip: not one of the chips named in --help" 2 ;;
esac

# An image begins with e9, a partition table with aa50 (ESP-IDF); the table lies at 0x8000.
if [ "$(bytes 0 1)" = e9 ]; then
    address=$bootloader
else
    address=0
    [ "$(bytes "$bootloader" 1)" = e9 ] || fail "$image: no bootloader at $(printf 0x%x "$bootloader"), where $chip looks for it"
fi
[ "$(bytes $((0x8000 - address)) 2)" = aa50 ] ||
    fail "$image: no partition table at 0x8000; an application alone (.app-bin) cannot be flashed"

# Between the two commands the board stays in its ROM loader: booting would change otadata.
tool=("$esptool" --chip "$chip" --port "$port" --baud 460800)
place=("$(printf '0x%x' "$address")" "$image")
$run "${tool[@]}" --after no-reset write-flash "${place[@]}"
$run "${tool[@]}" verify-flash "${place[@]}"
