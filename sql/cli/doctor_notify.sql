-- Rings on the doctor's own channel.
notify rowcast_doctor;
