-- The demo's database on its private server. Fails where it is kept from the last time, which is fine.
create database demo;
