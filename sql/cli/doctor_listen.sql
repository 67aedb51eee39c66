-- Listens on a channel of the doctor's own.
listen rowcast_doctor;
