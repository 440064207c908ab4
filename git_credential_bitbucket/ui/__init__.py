"""What a person types and sees: prompts, output, dates, and what they name on the command line."""
