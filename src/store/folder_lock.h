/* The setting of the folder's lock that tests change. */
#ifndef GD_STORE_FOLDER_LOCK_H
#define GD_STORE_FOLDER_LOCK_H

/* Sets after how many seconds without a sign of life a holder on another node is considered dead; at first 30. Local;
 * on rank 0. */
void gd_folder_lock_patience(double seconds);

#endif
