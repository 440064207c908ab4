"""What a user types and sees: prompts, output, dates, and scopes and credentials named on the command line."""
