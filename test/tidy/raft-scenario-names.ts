/**
 * The scenarios that other implementations of Raft are tested with, by where they come from. Each has a row in
 * roadmap/tables/raft-scenarios.md that says which test here is its equal, or why it does not apply.
 *
 * Names are those of the source without `Test` and without the kind of file.
 */

export interface ScenarioGroup {
  /** The first column of the table. */
  readonly source: string;
  readonly names: readonly string[];
}

export const SCENARIO_GROUPS: readonly ScenarioGroup[] = [
  // --- Interaction transcripts -------------------------------------------------------------------------------------
  {
    source: "etcd testdata",
    names: words(`
      async_storage_writes async_storage_writes_append_aba_race campaign campaign_learner_must_vote checkquorum
      confchange_disable_validation confchange_v1_add_single confchange_v1_remove_leader
      confchange_v1_remove_leader_stepdown confchange_v2_add_double_auto confchange_v2_add_double_implicit
      confchange_v2_add_single_auto confchange_v2_add_single_explicit confchange_v2_replace_leader
      confchange_v2_replace_leader_stepdown forget_leader forget_leader_prevote_checkquorum
      forget_leader_read_only_lease_based heartbeat_resp_recovers_from_probing lagging_commit prevote
      prevote_checkquorum probe_and_replicate replicate_pause single_node slow_follower_after_compaction
      snapshot_succeed_via_app_resp snapshot_succeed_via_app_resp_behind`),
  },
  {
    source: "etcd confchange/testdata",
    names: words(`
      joint_autoleave joint_idempotency joint_learners_next joint_safety simple_idempotency simple_promote_demote
      simple_safety update zero`),
  },
  {
    source: "etcd quorum/testdata",
    names: words("joint_commit joint_vote majority_commit majority_vote"),
  },
  {
    source: "etcd property tests",
    names: words("quorum.Quick confchange.ConfChangeQuick"),
  },
  // --- Unit scenarios ----------------------------------------------------------------------------------------------
  {
    source: "etcd raft_paper_test 5.1",
    names: words(`
      FollowerUpdateTermFromMessage CandidateUpdateTermFromMessage LeaderUpdateTermFromMessage
      RejectStaleTermMessage`),
  },
  {
    source: "etcd raft_paper_test 5.2",
    names: words(`
      StartAsFollower LeaderBcastBeat FollowerStartElection CandidateStartNewElection LeaderElectionInOneRoundRPC
      FollowerVote CandidateFallback FollowerElectionTimeoutRandomized CandidateElectionTimeoutRandomized
      FollowersElectionTimeoutNonconflict CandidatesElectionTimeoutNonconflict`),
  },
  {
    source: "etcd raft_paper_test 5.3",
    names: words(`
      LeaderStartReplication LeaderCommitEntry LeaderAcknowledgeCommit LeaderCommitPrecedingEntries
      FollowerCommitEntry FollowerCheckMsgApp FollowerAppendEntries LeaderSyncFollowerLog`),
  },
  {
    source: "etcd raft_paper_test 5.4",
    names: words("VoteRequest Voter LeaderOnlyCommitsLogFromCurrentTerm"),
  },
  {
    source: "etcd raft_test: progress and flow",
    names: words(`
      ProgressLeader ProgressResumeByHeartbeatResp ProgressPaused ProgressFlowControl UncommittedEntryLimit
      LeaderAppResp LeaderIncreaseNext SendAppendForProgressProbe SendAppendForProgressReplicate
      SendAppendForProgressSnapshot RecvMsgUnreachable MsgAppRespWaitReset FastLogRejection
      LogReplicationWithReorderedMessage`),
  },
  {
    source: "etcd raft_test: elections",
    names: words(`
      LeaderElection LeaderElectionPreVote LeaderCycle LeaderCyclePreVote LeaderElectionOverwriteNewerLogs
      LeaderElectionOverwriteNewerLogsPreVote VoteFromAnyState PreVoteFromAnyState DuelingCandidates
      DuelingPreCandidates CandidateConcede SingleNodeCandidate SingleNodePreCandidate OldMessages PastElectionTimeout
      StepIgnoreOldTermMsg RecvMsgVote RecvMsgPreVote StateTransition AllServerStepdown
      CandidateResetTermMsgHeartbeat CandidateResetTermMsgApp CandidateSelfVoteAfterLostElection
      CandidateSelfVoteAfterLostElectionPreVote CandidateDeliversPreCandidateSelfVoteAfterBecomingCandidate
      LeaderMsgAppSelfAckAfterTermChange CampaignWhileLeader PreCampaignWhileLeader Promotable RaftNodes
      NodeWithSmallerTermCanCompleteElection PreVoteWithSplitVote PreVoteWithCheckQuorum
      PreVoteMigrationCanCompleteElection PreVoteMigrationWithFreeStuckPreCandidate DisruptiveFollower
      DisruptiveFollowerPreVote`),
  },
  {
    source: "etcd raft_test: CheckQuorum",
    names: words(`
      LeaderStepdownWhenQuorumActive LeaderStepdownWhenQuorumLost LeaderSupersedingWithCheckQuorum
      LeaderElectionWithCheckQuorum FreeStuckCandidateWithCheckQuorum NonPromotableVoterWithCheckQuorum
      AddNodeCheckQuorum`),
  },
  {
    source: "etcd raft_test: replication and commit",
    names: words(`
      LogReplication SingleNodeCommit CannotCommitWithoutNewTermEntry CommitWithoutNewTermEntry Proposal
      ProposalByProxy Commit HandleMsgApp HandleHeartbeat HandleHeartbeatResp BcastBeat RecvMsgBeat
      CommitAfterRemoveNode`),
  },
  {
    source: "etcd raft_test: reads",
    names: words(`
      RaftFreesReadOnlyMem ReadOnlyOptionSafe ReadOnlyWithLearner ReadOnlyOptionLease ReadOnlyForNewLeader
      ReadOnlyDuplicateRequest`),
  },
  {
    source: "etcd raft_test: snapshots",
    names: words(`
      Restore RestoreWithLearner RestoreWithVotersOutgoing RestoreVoterToLearner RestoreLearnerPromotion
      LearnerReceiveSnapshot RestoreIgnoreSnapshot ProvideSnap IgnoreProvidingSnap RestoreFromSnapMsg SlowNodeRestore`),
  },
  {
    source: "etcd raft_snap_test",
    names: words(`
      SendingSnapshotSetPendingSnapshot PendingSnapshotPauseReplication SnapshotFailure SnapshotSucceed SnapshotAbort`),
  },
  {
    source: "etcd raft_test: configuration",
    names: words(`
      StepConfig StepIgnoreConfig NewLeaderPendingConfig AddNode AddLearner RemoveNode RemoveLearner
      ConfChangeCheckBeforeCampaign ConfChangeV2CheckBeforeCampaign`),
  },
  {
    source: "etcd raft_test: learners",
    names: words(`
      LearnerElectionTimeout LearnerPromotion LearnerCanVote LearnerLogReplication LearnerCampaign`),
  },
  {
    source: "etcd raft_test: transfer",
    names: words(`
      LeaderTransferToUpToDateNode LeaderTransferToUpToDateNodeFromFollower LeaderTransferWithCheckQuorum
      LeaderTransferToSlowFollower LeaderTransferAfterSnapshot LeaderTransferToSelf LeaderTransferToNonExistingNode
      LeaderTransferTimeout LeaderTransferIgnoreProposal LeaderTransferReceiveHigherTermVote LeaderTransferRemoveNode
      LeaderTransferDemoteNode LeaderTransferBack LeaderTransferSecondTransferToAnotherNode
      LeaderTransferSecondTransferToSameNode TransferNonMember`),
  },
  {
    source: "etcd raft_flow_control_test",
    names: words("MsgAppFlowControlFull MsgAppFlowControlMoveForward MsgAppFlowControlRecvHeartbeat"),
  },
  {
    source: "etcd rawnode_test",
    names: words(`
      RawNodeStep RawNodeProposeAndConfChange RawNodeJointAutoLeave RawNodeProposeAddDuplicateNode RawNodeReadIndex
      RawNodeStart RawNodeRestart RawNodeRestartFromSnapshot RawNodeStatus RawNodeCommitPaginationAfterRestart
      RawNodeBoundedLogGrowthWithPartition RawNodeConsumeReady`),
  },
  {
    source: "etcd node_test",
    names: words(`
      NodeStep NodeStepUnblock NodePropose DisableProposalForwarding NodeReadIndexToOldLeader NodeProposeConfig
      NodeProposeAddDuplicateNode BlockProposal NodeProposeWaitDropped NodeTick NodeStop NodeStart NodeRestart
      NodeRestartFromSnapshot NodeAdvance SoftStateEqual IsHardStateEqual NodeProposeAddLearnerNode AppendPagination
      CommitPagination CommitPaginationWithAsyncStorageWrites NodeCommitPaginationAfterRestart`),
  },
  {
    source: "etcd log_test",
    names: words(`
      FindConflict FindConflictByTerm IsUpToDate Append LogMaybeAppend CompactionSideEffects HasNextCommittedEnts
      NextCommittedEnts AcceptApplying AppliedTo NextUnstableEnts CommitTo StableTo StableToWithSnap Compaction
      LogRestore IsOutOfBounds Term TermWithUnstableSnapshot Slice Scan`),
  },
  {
    source: "etcd log_unstable_test",
    names: words(`
      UnstableMaybeFirstIndex MaybeLastIndex UnstableMaybeTerm UnstableRestore UnstableNextEntries
      UnstableNextSnapshot UnstableAcceptInProgress UnstableStableTo UnstableTruncateAndAppend`),
  },
  {
    source: "etcd storage_test",
    names: words(`
      StorageTerm StorageEntries StorageLastIndex StorageFirstIndex StorageCompact StorageCreateSnapshot StorageAppend
      StorageApplySnapshot`),
  },
  {
    source: "etcd tracker",
    names: words(`
      InflightsAdd InflightsFreeTo InflightsFull InflightsReset ProgressString ProgressIsPaused ProgressResume
      ProgressBecomeProbe ProgressBecomeReplicate ProgressBecomeSnapshot ProgressUpdate ProgressMaybeDecr`),
  },
  {
    source: "etcd util and types",
    names: words(`
      PayloadSizeOfEmptyEntry LimitSize IsLocalMsg IsResponseMsg DescribeEntry EntryID LogSlice`),
  },
  {
    source: "etcd rafttest",
    names: words("BasicProgress Restart Pause NetworkDrop NetworkDelay"),
  },
  {
    source: "raft-rs",
    names: words(`
      advance_commit_index_by_read_index_response advance_commit_index_by_vote_request
      advance_commit_index_by_direct_vote_request advance_commit_index_by_prevote_request
      advance_commit_index_by_vote_response advance_commit_index_by_direct_vote_response
      advance_commit_index_by_prevote_response read_only_option_lease_without_check_quorum
      read_when_quorum_becomes_less remove_node_itself election_tick_range batch_msg_append follower_request_snapshot
      request_snapshot_unavailable request_snapshot_matched_change request_snapshot_none_replicate
      request_snapshot_step_down request_snapshot_on_role_change request_snapshot_after_term_change group_commit
      group_commit_consistent election_with_priority_log election_after_change_priority
      uncommitted_entries_size_limit uncommitted_entry_after_leader_election
      uncommitted_state_advance_ready_from_last_term switching_check_quorum progress_committed_index
      snapshot_with_min_term restore_depromote_voter msg_app_flow_control_with_freeing_resources disable_progress
      skip_bcast_commit raw_node_with_async_entries raw_node_with_async_entries_to_removed_node
      raw_node_with_async_entries_on_follower raw_node_with_async_entries_with_leader_change with_async_apply
      entries_after_snapshot overwrite_entries async_ready_leader async_ready_follower async_ready_become_leader
      async_ready_multiple_snapshot maybe_persist_with_snap`),
  },
  {
    source: "hashicorp fuzzy",
    names: words(`
      LeaderPartitions NoIssueSanity SlowSendVote SlowRecvVote AddMembership AddRemoveNodesNotLeader RemoveLeader
      RemovePartitionedNode FuzzyLeadershipTransfer`),
  },
  {
    source: "hashicorp raft_test",
    names: words(`
      RecoverCluster RecoverCluster_NoState HasExistingState LiveBootstrap LiveBootstrap_From_NonVoter BehindFollower
      ApplyNonLeader ApplyConcurrent ApplyConcurrent_Timeout RemoveFollower_SplitCluster RemoveLeader_NoShutdown
      AddKnownPeer RemoveUnknownPeer RestoreSnapshotOnStartup_Monotonic RestoreSnapshotOnStartup_CommitTrackingLogs
      SnapshotRestore_PeerChange UserRestore SendSnapshotAndLogsFollower ReJoinFollower LeaderLeaseExpire Barrier
      VerifyLeader_Single VerifyLeader_Fail VerifyLeader_PartialConnect NotifyCh PreVoteMixedCluster
      PreVoteAvoidElectionWithPartition VotingGrant_WhenLeaderAvailable LeadershipTransferWithWrites
      LeadershipTransferToBehindServer LeadershipTransferLeaderReplicationTimeout LeadershipTransferStopRightAway
      LeadershipTransferIgnoresNonvoters LeadershipTransferWithSevenNodes CacheLogWithStoreError
      InstallSnapshot_InvalidPeers VoteNotGranted_WhenNodeNotInCluster
      ClusterCanRegainStability_WhenNonVoterWithHigherTermJoin FollowerRemovalNoElection PreVote_LeaderSpam
      PreVote_ShouldNotRejectLeader Commitment_recalculate Commitment_startIndex Commitment_noVoterSanity`),
  },
  {
    source: "canonical raft and dqlite",
    names: words(`
      ioErrorConvertTerm ioErrorConvertVote ioErrorPersistVote inFlightAppendBlocksCandidacy preVoteNoStaleVotes
      persistError diskWriteFailure newTermWhileAppending failPersistBarrier failPersistBarrierFollower
      lastStoredLaggingBehindCommitIndex recvRollbackConfigurationToInitial recvRollbackConfigurationToPrevious
      recvRollbackConfigurationToSnapshot receiveSameWithPendingSend installOneTimeOut installSnapshotHeartBeats
      installSnapshotDuringEntriesWrite snapshotBlocksCandidate newTermWhileInstalling promoteCatchUp
      promoteUnresponsive demoteLeader noSpaceUponWrite noSpaceResolved writeError uv_load`),
  },
  {
    source: "openraft",
    names: words(`
      t11_append_conflicts t11_append_inconsistent_log t61_heartbeat_reject_vote t14_one_way_isolation
      t51_write_when_leader_quit t90_issue_607_single_restart t90_issue_920_non_voter_leader_restart
      t30_commit_joint_config t30_elect_with_new_config t31_remove_leader t31_removed_follower
      t51_remove_unreachable_follower t99_issue_584_replication_state_reverted
      t99_new_leader_auto_commit_uniform_config t31_snapshot_overrides_membership t33_snapshot_delete_conflict_logs
      t34_replication_does_not_block_purge t90_issue_808_snapshot_to_unreachable t62_follower_clear_restart_recover
      t99_issue_1500_heartbeat_cause_reversion_panic
      learner_added_while_partitioned_catches_up_from_fully_purged_leader`),
  },
  {
    source: "braft",
    names: words(`
      leader_lease.change_peers leader_lease.leader_remove_itself leader_lease.transfer_leadership_success
      leader_lease.transfer_leadership_timeout leader_lease.vote leader_lease.apply_thread_hung leader_lease.chaos
      change_peers_chaos_with_snapshot change_peers_chaos_without_snapshot follower_handle_out_of_order_append_entries
      Leader_step_down_during_install_snapshot shutting_leader_triggers_timeout_now`),
  },
  {
    source: "TigerBeetle replica_test",
    names: words(`
      partition_2-1_symmetric partition_1-2_symmetric partition_send-only partition_receive-only
      isolate_primary_send-only duel_of_the_primaries corrupt_left_of_head corrupt_right_of_head corrupt_3/3
      reformat_unrecoverable_replica reformat_too_many_faults
      partitioned_replica_with_higher_view_cannot_lock_out_client`),
  },
  {
    source: "etcd robustness failpoints",
    names: words(`
      before_raft_save after_raft_save before_save_snap after_save_snap before_apply_snap after_apply_snap
      after_wal_release before_leader_send before_follower_send before_commit after_commit during_compaction
      BlackholePeerNetwork DelayPeerNetwork DropPeerNetwork BlackholeUntilSnapshot MemberReplace save_sleep
      BeforeApplyOneConfChangeSleep`),
  },
];

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}
