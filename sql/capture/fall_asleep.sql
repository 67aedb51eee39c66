-- Asks writers to ring from now on; see rowcast.fall_asleep() for why no wake-up is lost.
select bell, barrier from rowcast.fall_asleep()
