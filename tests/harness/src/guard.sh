# Cleans up after the process that holds the other end of standard input, however that process ended.
# $1: the folder to remove. Lines on standard input: "add GROUP", "drop GROUP" (process groups to kill), "keep" (the folder).
groups=' '
keep=
while read -r what group; do
    case $what in
    add) groups="$groups$group " ;;
    drop)
        # Said more than once of a group that has ended; what is not in the list would double it.
        case $groups in *" $group "*) groups="${groups%% "$group" *} ${groups#* "$group" }" ;; esac
        ;;
    keep) keep=yes ;;
    esac
done
for group in $groups; do
    # Not `kill -KILL -- -1234`, which is right, but not understood by every shell.
    kill -KILL "-$group"
done
[ -z "$keep" ] || exit 0
# A process that was just killed may still be writing.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" && exit 0
    sleep 0.2
done
exit 1
