-- Notes a transaction id that is on disk: what a position from before a crash may still claim.
select rowcast.note_durable()
