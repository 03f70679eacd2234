/* This process's rank, for messages only. Set by gd_log_setup. */
#ifndef GD_BASE_RANK_H
#define GD_BASE_RANK_H

extern int gd_rank_for_messages;

/* Prints a line on stderr in one write: those of several ranks stay whole. Local. */
void gd_print_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
