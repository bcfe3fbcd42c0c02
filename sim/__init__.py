"""A board in a process: flash, bootloader, NVS, watchdog, Wi-Fi and a console that speaks REPL."""
