import { err, type Result } from "../base/result.ts";
import type {
  Inspection,
  NewGroup,
  NewGroupPlan,
  NewGroupRequest,
  RestoreRequest,
} from "../cli/recover-ports.ts";

const LACKING = "this build cannot look into a stopped member's data directory";

export async function inspect(_dataDir: string): Promise<Result<Inspection, string>> {
  return err(LACKING);
}

export async function plan(_request: NewGroupRequest): Promise<Result<NewGroupPlan, string>> {
  return err(LACKING);
}

export async function forceNewGroup(_request: NewGroupRequest): Promise<Result<NewGroup, string>> {
  return err(LACKING);
}

export async function restore(_request: RestoreRequest): Promise<Result<NewGroup, string>> {
  return err(LACKING);
}
