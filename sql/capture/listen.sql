-- The doorbell's channel.
listen rowcast
