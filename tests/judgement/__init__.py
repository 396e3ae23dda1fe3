"""A labelled set of short transcripts, and a script that scores any configured model on it (`docs/judgement.md`)."""
