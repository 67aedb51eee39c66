-- Creates our schema.
create schema if not exists rowcast;
