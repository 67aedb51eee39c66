-- Makes the log ready and says in which state it was found: open, or why it was emptied.
select rowcast.open_log() as found
