import type { ExplanationDocument, LossOfferDocument } from "../api/documents.ts";
import { renderTable, withoutControls } from "./render-table.ts";

/** How things stand, or would, for people: the answer first, then why, then what can be done. */
export function renderExplanation(explanation: ExplanationDocument): string {
  const { lost, sentence, wayOut, passedOver, cohort, successor, leader, lossOffer } = explanation;
  const isAsked = lost.length > 0;
  const lines = [
    ...(isAsked ? [`If ${lost.join(" and ")} ${lost.length === 1 ? "was" : "were"} lost now:`] : []),
    sentence,
    ...(wayOut === null ? [] : [`What to do: ${wayOut}`]),
    ...(successor === null || cohort === null
      ? []
      : [`Commits would then wait for any ${cohort.k} of ${cohort.standbys.join(", ") || "nobody"}.`]),
    ...passedOver.map(({ member, reason }) => `Not ${member}: ${reason}.`),
    ...(explanation.isMajorityLeft ? [] : ["Too few voters would be left to agree on anything new."]),
    ...(isAsked || leader === null ? [] : ["", `The leader ${leader.by}: ${leader.text}`]),
    ...(isAsked || leader?.wayOut == null ? [] : [`What to do: ${leader.wayOut}`]),
    ...(lossOffer === null ? [] : ["", ...renderLossOffer(lossOffer)]),
  ];
  const text = `${lines.map(withoutControls).join("\n")}\n`;
  if (explanation.ifLost.length === 0) return text;
  const rows = explanation.ifLost.map((each) => [each.member, each.sentence]);
  return `${text}\n${renderTable(["if lost", "then"], rows)}`;
}

/** What a person could take upon them, and how. */
export function renderLossOffer(offer: LossOfferDocument): readonly string[] {
  const { member, position, wouldLose, token, expiresAt } = offer;
  return [
    `A person may take a loss: ${member} would follow at ${position}, without ${wouldLose}.`,
    `  guacamole failover --accept-loss ${token}   (until ${expiresAt})`,
  ];
}
