"""The sub-commands: each one's module in this room, and its function there (words -> exit code)."""

COMMANDS = {
    "doctor": ("doctor", "doctor"),
    "evaluate": ("evaluate", "evaluate"),
    "explain": ("options", "print_explanation"),
    "export": ("export", "command"),
    "list": ("options", "print_list"),
    "push": ("push", "command"),
    "report": ("report", "command"),
    "resume": ("resume", "resume"),
}
