"""A board in a process: flash file, bootloader, NVS, watchdog, Wi-Fi, and a console that speaks REPL."""
