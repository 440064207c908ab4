"""The commands, one module each; `app` imports them by name, and reports errors."""
