#!/bin/bash
# real.sh - every servable strategy against a real server; not a part of ctest, which has none.
#
#   tests/remote/real.sh RAMIFY SERVER_URL [LOCAL_MODEL [END_TOKEN]]
#
# RAMIFY is the built program, SERVER_URL such as http://localhost:8080/v1. The key, where the server
# wants one, is taken from the variable OPENAI_API_KEY. With LOCAL_MODEL, the same weights here, greedy
# and beam search must return the same texts as the server's (arithmetic of a server differs in the
# last digits: where two tokens are nearly equal it may choose the other, and the script says which
# problem it was). The embedded models know the task; any other model is asked for its plumbing.
#
#   llama-server -m engine/models/thimble.gguf --port 8080 -np 8 -c 6144 --special
#   tests/remote/real.sh build/ramify http://localhost:8080/v1 thimble '<eos>'
set -eu
[ $# -ge 2 ] || { sed -n '2,16s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ramify=$1 url=$2 local=${3:-} end=${4:-}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
key=${OPENAI_API_KEY:+', "api_key_env": "OPENAI_API_KEY"'}
near=${local:+", \"near\": \"$local\""}

# One configuration for each way of asking: streamed, whole, several samples a request.
write() { # NAME MORE_KEYS STRATEGIES
    cat >"$dir/$1.json" <<EOF
{ "name": "$1",
  "models": { "far": { "remote": "$url", "concurrency": 8${end:+, \"end_token\": \"$end\"}$key$2 }$near },
  "tasks": [{ "kind": "arithmetic", "operations": 3, "prompt": "{question}=<think>", "think": ["<think>", "</think>"],
              "step_ends": [";"], "answer_rules": ["last number"] }],
  "problems": 4, "generation": { "max_new_tokens": 96 }, "strategies": [ $3 ] }
EOF
}

run() { # NAME
    "$ramify" run "$dir/$1.json" --out "$dir/$1" 2>"$dir/$1.log" || { cat "$dir/$1.log"; exit 1; }
    sqlite3 -separator '  ' "$dir/$1/records.sqlite" \
        "select '$1', c.label, c.model, count(*), 'failed ' || sum(o.error is not null),
                'prompt ' || coalesce(avg(prompt_tokens), 'not told'),
                'generated ' || coalesce(avg(generated_tokens), 'not told'),
                'first token ' || coalesce(round(avg(ttft_ms), 1) || ' ms', 'not seen'),
                'log-probabilities ' || case when sum(k.lp is null) then 'missing' else 'there' end
         from outcomes o join cells c using (cell) left join candidates k using (outcome) group by c.cell"
    sqlite3 "$dir/$1/records.sqlite" "select distinct 'error: ' || error from outcomes where error is not null"
    failed=$(sqlite3 "$dir/$1/records.sqlite" "select count(*) from outcomes where error is not null")
    [ "$failed" = 0 ] || status=1
    grep -h 'requests' "$dir/$1/log.txt" || true
}

status=0
both='"models": ["far"'${local:+', "near"'}']'
write stream ', "top_logprobs": 8' "
  { \"strategy\": \"greedy\", $both }, { \"strategy\": \"beam\", \"num_beams\": [2, 4], $both },
  { \"strategy\": \"sampling\", \"models\": [\"far\"], \"temperature\": 0.7, \"top_p\": 0.9, \"top_k\": 5 },
  { \"strategy\": \"best-of-n\", \"models\": [\"far\"], \"num_return_sequences\": 3 },
  { \"strategy\": \"self-consistency\", \"models\": [\"far\"], \"num_return_sequences\": [2, 4] },
  { \"strategy\": \"adaptive-consistency\", \"models\": [\"far\"] },
  { \"strategy\": \"mcts\", \"models\": [\"far\"], \"simulations\": 4, \"score\": \"agreement\" }
  ${local:+, { \"strategy\": \"ensemble-vote\", \"models\": [[\"far\", \"near\"]], \"num_return_sequences\": 2 \}}"
write whole ', "stream": false' "{ \"strategy\": \"greedy\", $both },
  { \"strategy\": \"self-consistency\", \"models\": [\"far\"], \"num_return_sequences\": 3 }"
write several ', "choices": 4' '{ "strategy": "self-consistency", "models": ["far"], "num_return_sequences": 4 }'
for name in stream whole several; do
    run $name
done

[ -n "$local" ] || exit $status
for name in stream whole; do
    differing=$(sqlite3 "$dir/$name/records.sqlite" "
      select 'differs: $name, ' || a.strategy || ' ' || coalesce(a.size, '') || ', ' || a.id || ': ' || a.text || ' | ' || b.text
      from v_outcomes a join v_outcomes b using (problem, strategy, params)
      where a.model = 'far' and b.model = 'near' and strategy in ('greedy', 'beam') and a.text is not b.text")
    same=$(sqlite3 "$dir/$name/records.sqlite" "
      select count(*) from v_outcomes a join v_outcomes b using (problem, strategy, params)
      where a.model = 'far' and b.model = 'near' and strategy in ('greedy', 'beam') and a.text is b.text")
    echo "$name: $same equal texts of greedy and beam search here and there"
    [ -z "$differing" ] || { echo "$differing"; status=1; }
done
exit $status
