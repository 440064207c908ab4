"""The checks of `doctor`, one module each with a `look`, and what `status` and `explain` show."""
