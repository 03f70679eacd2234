/* This process's rank, for messages only. Set by gd_log_setup. */
#ifndef GD_BASE_RANK_H
#define GD_BASE_RANK_H

extern int gd_rank_for_messages;

#endif
