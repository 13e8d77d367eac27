#!/bin/sh
# Keeps a roster in Muster in step with a file: sends it, waits for what it comes to, and says that.
#
#     export MUSTER_URL=https://muster.example.com
#     export MUSTER_KEY=mk_live_…                    # or MUSTER_KEY_FILE, a file that only you can read
#     sh keep-in-step.sh people.csv                  # the whole list: who is missing leaves
#     sh keep-in-step.sh --mode partial changes.csv  # only those named change
#     sh keep-in-step.sh --dry-run people.csv        # says what would change, and changes nothing
#
# It needs sh, curl and python3, and a key made with the preset `send-lists`. The file may be CSV, XLSX, JSON, or JSON lines, packed
# with gzip or not. It ends with
#     0  applied, or nothing to change
#     1  not done: the server cannot be reached, or does not let this key in
#     2  wrong use
#     3  held, all or part of it: somebody has to decide, and the message says where
#     4  refused: nothing was taken from the file, and the message says why
# What fails on its way, comes too often or finds the server busy is sent again, MUSTER_TRIES times (20) at most. Nothing is applied
# twice by that. The outcome is waited for MUSTER_WAIT seconds (900).
set -eu

usage() {
  sed -n '4,8s/^#  *//p' "$0" >&2
  exit 2
}

fail() {
  printf '%s\n' "$2" >&2
  exit "$1"
}

mode=full feed='' dry_run='' file=''
while [ $# -gt 0 ]; do
  case $1 in
    --mode) [ $# -ge 2 ] || usage; mode=$2; shift ;;
    --feed) [ $# -ge 2 ] || usage; feed=$2; shift ;;
    --dry-run) dry_run=yes ;;
    -*) usage ;;
    *) [ -z "$file" ] || usage; file=$1 ;;
  esac
  shift
done
[ -n "$file" ] || usage
for tool in curl python3; do command -v "$tool" >/dev/null || fail 2 "$tool is needed, and is not here."; done
case $mode in full | partial | leavers) ;; *) fail 2 "The mode is full, partial or leavers." ;; esac
case $feed in *[!a-z0-9._-]*) fail 2 "That is no name of a feed." ;; esac
[ -f "$file" ] && [ -r "$file" ] || fail 2 "$file cannot be read."
[ -n "${MUSTER_URL:-}" ] || fail 2 "Set MUSTER_URL, such as https://muster.example.com."
if [ -n "${MUSTER_KEY_FILE:-}" ]; then MUSTER_KEY=$(cat "$MUSTER_KEY_FILE"); fi
case ${MUSTER_KEY:-} in '' | *[!A-Za-z0-9_]*) fail 2 "Set MUSTER_KEY to a key, or MUSTER_KEY_FILE to a file with one." ;; esac
url=${MUSTER_URL%/} tries=${MUSTER_TRIES:-20} patience=${MUSTER_WAIT:-900}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The key comes to curl through a pipe: what stands on a command line, everybody on the machine can see.
request() {
  printf 'header = "Authorization: Bearer %s"\n' "$MUSTER_KEY" |
    curl --config - --silent --show-error --connect-timeout 10 --speed-limit 1 --speed-time 120 \
      --dump-header "$work/head" --output "$work/body" --write-out '%{http_code}' "$@" 2>"$work/why"
}

# How many seconds to wait before the next attempt: as the server says, else a little longer each time.
pause() {
  told=$(awk 'tolower($1) == "retry-after:" { n = $2 + 0 } END { if (n > 0) print n }' "$work/head")
  if [ -n "$told" ]; then echo "$told"; elif [ "$1" -lt 30 ]; then echo "$1"; else echo 30; fi
}

# Sends a request until it has an answer that sending it again would not change. The answer is in $status and $work/body.
persist() {
  attempt=1
  while :; do
    : >"$work/head"
    : >"$work/body"
    # Whoever is refused may be told so before all was sent. Any other answer counts only if it came whole.
    status=$(request "$@") || case $status in 4??) ;; *) status=000 ;; esac
    case $status in
      000 | 408 | 429 | 5??) ;;
      409) grep -q '/in-flight"' "$work/body" || return 0 ;;
      *) return 0 ;;
    esac
    [ "$attempt" -lt "$tries" ] || return 0
    seconds=$(pause "$attempt")
    if [ "$status" = 000 ]; then why=$(cat "$work/why"); else why="the server answered $status"; fi
    printf '%s: trying again in %s s: %s\n' "$file" "$seconds" "$why" >&2
    sleep "$seconds"
    attempt=$((attempt + 1))
  done
}

# Says what the answer is, and ends with the code for it; 9 while the outcome is not known.
report() {
  python3 - "$file" "$status" "$url" "$work/body" <<'PYTHON'
import json, sys

file, status, url, body = sys.argv[1:]
try:
    with open(body, encoding="utf-8") as text:
        answer = json.load(text)
    assert isinstance(answer, dict)
except (ValueError, AssertionError):
    sys.exit(f"{file}: not done: {url} cannot be reached" if status == "000" else
             f"{file}: not done: {url} answered {status}, and nothing that Muster would say")

if not status.startswith("2"):
    print(f"{file}: not done: {answer.get('title')}. {answer.get('detail', '')}", file=sys.stderr)
    for error in answer.get("errors", []):
        print(f"  {error['pointer']}: {error['detail']}", file=sys.stderr)
    print(f"  {url}{answer.get('type', '')}", file=sys.stderr)
    sys.exit(4 if status in ("400", "409", "413", "415", "422") else 1)

state, counts, issues = answer["state"], answer["counts"], answer.get("issues") or []
if state == "received":
    sys.exit(9)
said = [f"{counts[name]} {name}" for name in
        ("added", "updated", "removed", "reinstated", "rekeyed", "unchanged", "suppressed", "invalid") if counts[name]]
rows = "1 row" if counts["rows"] == 1 else f"{counts['rows']} rows"
print(f"{file}: {state.replace('_', ' ')}: {rows}: {', '.join(said) or 'nothing in it'}")
for issue in issues:
    at = f"line {issue['line']}: " if issue["line"] else ""
    column = f"{issue['column']}: " if issue["column"] else ""
    print(f"  {at}{column}{issue['reason']}")
if len(issues) == 100:
    print(f"  Perhaps there are more: GET {url}/api/v1/uploads/{answer['upload_id']}/issues")
for hold in answer.get("holds") or []:
    print(f"  {hold['guard']}: {hold['detail']}")
if state in ("applied", "no_changes", "dry_run"):
    sys.exit(0)
if state == "refused":
    sys.exit(4)
if state in ("held", "partly_applied"):
    print(f"  Somebody has to decide on the change set {answer['change_set_id']}: with `muster changes show`, or as"
          f" {url}/api-docs#deciding-on-what-waits says.")
sys.exit(3)
PYTHON
}

case $(printf '%s' "$file" | tr '[:upper:]' '[:lower:]') in
  *.gz) type=application/gzip ;;
  *.xlsx) type=application/vnd.openxmlformats-officedocument.spreadsheetml.sheet ;;
  *.json) type=application/json ;;
  *.ndjson | *.jsonl) type=application/x-ndjson ;;
  *.csv | *.tsv | *.txt) type=text/csv ;;
  *) type=application/octet-stream ;;
esac
sums=$(python3 - "$file" <<'PYTHON'
import base64, hashlib, sys

hash = hashlib.sha256()
with open(sys.argv[1], "rb") as file:
    for piece in iter(lambda: file.read(1 << 20), b""):
        hash.update(piece)
print(hash.hexdigest()[:32], base64.b64encode(hash.digest()).decode())
PYTHON
)
# The same for every attempt of this run, and another for the next: a list that is sent again on purpose, say because what it did was
# undone, is worked on anew.
run="${sums% *}-$(date +%s)-$$"

persist --request POST --upload-file "$file" --header "Content-Type: $type" --header "Prefer: wait=30" \
  --header "Idempotency-Key: $run" --header "Content-Digest: sha-256=:${sums#* }:" \
  "$url/api/v1/uploads?mode=$mode${feed:+&feed=$feed}${dry_run:+&dry_run=true}"
code=0
report || code=$?
until=$(($(date +%s) + patience))
while [ "$code" = 9 ]; do
  upload=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["upload_id"])' "$work/body")
  [ "$(date +%s)" -lt "$until" ] || fail 1 "$file: taken, and still worked on: GET $url/api/v1/uploads/$upload"
  sleep 2
  persist "$url/api/v1/uploads/$upload"
  code=0
  report || code=$?
done
exit "$code"
