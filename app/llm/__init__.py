"""Model adapters behind one interface; this room knows no other room of the tool."""
