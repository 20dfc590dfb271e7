"""Who used what: the append-only ledger of GPU time, and the bill that adds up to the price of the nodes."""
