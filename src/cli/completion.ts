/** A command with what may stand after it: enough of it to complete words. */
export interface CompletionCommand {
  /** `""` for the program itself, `member add` for a command of a command. */
  readonly path: string;
  readonly words: readonly string[];
}

export type Shell = "bash" | "zsh" | "fish";

/** A completion script for a shell, from the tree of commands. */
export function renderCompletion(shell: Shell, commands: readonly CompletionCommand[]): string {
  if (shell === "fish") return renderFish(commands);
  const bash = renderBash(commands);
  return shell === "bash" ? bash : `#compdef guacamole\nautoload -U +X bashcompinit && bashcompinit\n${bash}`;
}

function renderBash(commands: readonly CompletionCommand[]): string {
  const cases = commands.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;`);
  const known = commands.filter(({ path }) => path !== "").map(({ path }) => `"${path}"`);
  return `_guacamole() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" next word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in
      ${known.join("|")}) path="$next" ;;
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _guacamole guacamole
`;
}

function renderFish(commands: readonly CompletionCommand[]): string {
  const lines = commands.flatMap(({ path, words }) => {
    const seen = path.split(" ").filter((each) => each !== "");
    const condition =
      seen.length === 0
        ? "__fish_use_subcommand"
        : seen.map((each) => `__fish_seen_subcommand_from ${each}`).join("; and ");
    return words.map((word) =>
      word.startsWith("--")
        ? `complete -c guacamole -n '${condition}' -l ${word.slice(2)}`
        : `complete -c guacamole -n '${condition}' -f -a ${word}`,
    );
  });
  return `${lines.join("\n")}\n`;
}
