"""A person's verbs, one module each; `app` finds them by name, and says on stderr what went wrong."""
