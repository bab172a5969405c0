"""Faults on purpose: kills, full disks, damaged folders, hostile files, two writers. `make reliability` scores them.

Each group is a function that yields Checks. The command line runs in forked children of one warm process, so that a
check costs its own work and not the import of torch. docs/reliability.md keeps the latest table.
"""
