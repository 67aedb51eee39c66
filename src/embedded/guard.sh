# Keeps a private Postgres for exactly as long as its standard input stays open.
#
# Whoever holds the other end of that pipe may end in any way, kill -9 included: the pipe closes,
# and this script stops the server and deletes its folder.
#
# Arguments: folder of programs, data folder, folder to delete at the end, signal for the end, then
# the server's own arguments. Commands are words on standard input; each is answered with its exit
# code on standard output.

bin=$1 data=$2 home=$3 farewell=$4
shift 4
umask 077
# Only the pipe ends this script: no Ctrl-C meant for its parent, no broken pipe when it answers.
trap '' HUP INT TERM PIPE
keeper=

# Sends the server a signal and waits for its end.
halt() {
    [ -n "$keeper" ] || return 0
    while [ ! -e "$home/ended" ]; do
        # Right after a start the file with the process id may be missing, or an old one.
        read -r pid 2>/dev/null <"$data/postmaster.pid" && kill -"$1" "$pid" && break
        sleep 0.1
    done
    wait "$keeper"
    keeper=
}

# A server that was killed leaves a System V segment; its number stands in the file it left too.
forget_memory() {
    [ -e "$data/postmaster.pid" ] || return 0
    segment=$(sed -n '7s/.* //p' "$data/postmaster.pid")
    [ -z "$segment" ] || ipcrm -m "$segment"
}

while read -r command; do
    case $command in
    init)
        "$bin/initdb" --pgdata "$data" --username postgres --encoding UTF8 --locale C --no-sync \
            --auth-local trust --auth-host scram-sha-256 --pwfile "$home/password" \
            >>"$home/log" 2>&1 </dev/null
        ;;
    start)
        rm -f "$home/ended"
        (
            "$bin/postgres" -D "$data" "$@" >>"$home/log" 2>&1 </dev/null
            : >"$home/ended"
        ) &
        keeper=$!
        ;;
    stop) halt INT ;;
    kill) halt KILL ;;
    esac
    echo $?
done

halt "$farewell"
forget_memory
# Twice, because the last child of a killed server may still write while the first one runs.
rm -rf "$home" || { sleep 1 && rm -rf "$home"; }
