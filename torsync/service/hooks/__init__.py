"""Who is asked before updates, and told of them: commands and notifications."""
