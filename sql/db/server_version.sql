-- Who the server is and who we are to it.
select current_setting('server_version_num')::integer as version_num,
       current_setting('server_version') as version,
       current_user::text as role;
