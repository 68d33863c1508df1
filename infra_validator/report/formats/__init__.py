"""The verdict for people and for other tools: pure functions of ``verdict.json``'s data, so that old files become reports, too."""
