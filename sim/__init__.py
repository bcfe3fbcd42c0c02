"""A simulated ESP32 board: flash, bootloader, resets, watchdog and a console, in a process."""
